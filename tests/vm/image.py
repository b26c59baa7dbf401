"""image.py - Debian's kernel, unpacked into a cache folder, and an initramfs that mounts the host's root"""

import glob
import gzip
import os
import re
import shutil
import subprocess

PACKAGE = 'linux-image-amd64'
BUSYBOX = '/bin/busybox'
# What it takes to see the host's files; all other modules are loaded from there.
ROOT_MODULES = ('virtio_pci', '9pnet_virtio', '9p', 'overlay')
HERE = os.path.dirname(os.path.abspath(__file__))


class ImageError(Exception):
    """One line: what is missing, and the way out."""


def output_of(*words, cwd=None):
    done = subprocess.run(words, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ['no reason given']
        raise ImageError(f'{" ".join(words)}: {lines[-1]}')
    return done.stdout


class Kernel:
    """One kernel in the cache: its image, its modules."""

    def __init__(self, folder):
        self.folder = folder
        images = glob.glob(os.path.join(folder, 'boot', 'vmlinuz-*'))
        if len(images) != 1:
            raise ImageError(f'{folder}: {len(images)} kernels where one was expected; make clean')
        self.image = images[0]
        self.version = os.path.basename(self.image).removeprefix('vmlinuz-')
        self.modules = os.path.join(folder, 'lib', 'modules', self.version)

    def module_files(self, *names):
        """Files of these modules and of all they need, in the order of loading."""
        files = []
        for name in names:
            said = output_of('modprobe', '-d', self.folder, '-S', self.version, '-C', '/dev/null',
                             '--show-depends', name)
            for path in re.findall(r'^insmod (\S+)', said, re.M):
                if path not in files:
                    files.append(path)
        return files


def package_of(package):
    """The package with the files: what a metapackage such as linux-image-amd64 stands for today."""
    for line in output_of('apt-cache', 'depends', '--important', package).splitlines():
        match = re.match(r'\s*Depends: (linux-image-\d\S*)', line)
        if match:
            return match.group(1)
    return package


def kernel(cache, package=PACKAGE):
    """Downloads and unpacks it once; nothing is installed on this machine."""
    name = package_of(package)
    folder = os.path.join(cache, name)
    if not os.path.exists(os.path.join(folder, 'ready')):
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        print(f'vm: downloading {name}', flush=True)
        # As root, apt would rather download as a user who may not write here, and says so.
        output_of('apt-get', '-q', '-o', 'APT::Sandbox::User=root', 'download', name, cwd=folder)
        archive, = glob.glob(os.path.join(folder, '*.deb'))
        output_of('dpkg-deb', '-x', archive, folder)
        os.unlink(archive)
        output_of('depmod', '-b', folder, Kernel(folder).version)
        with open(os.path.join(folder, 'ready'), 'w', encoding='ascii'):
            pass
    return Kernel(folder)


def entry(name, mode, data=b'', inode=[0]):
    """One file of a cpio archive of the "newc" kind (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    inode[0] += 1
    fields = (inode[0], mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b'070701' + b''.join(b'%08X' % field for field in fields) + name.encode() + b'\0'
    return head + b'\0' * (-len(head) % 4) + data + b'\0' * (-len(data) % 4)


def read(path):
    with open(path, 'rb') as file:
        return file.read()


def initramfs(path, linux):
    """busybox, init.sh and the modules of ROOT_MODULES."""
    if not os.path.exists(BUSYBOX):
        raise ImageError(f'{BUSYBOX} is missing: scripts/deps.sh vm')
    files = linux.module_files(*ROOT_MODULES)
    parts = [entry(folder, 0o040755) for folder in ('bin', 'modules', 'proc', 'sys', 'dev', 'lower',
                                                    'upper', 'new')]
    parts.append(entry('bin/busybox', 0o100755, read(BUSYBOX)))
    parts.append(entry('init', 0o100755, read(os.path.join(HERE, 'init.sh'))))
    for number, file in enumerate(files):
        parts.append(entry(f'modules/{number:02}.ko', 0o100644, read(file)))
    parts.append(entry('TRAILER!!!', 0))
    with gzip.open(path, 'wb', compresslevel=1) as file:
        file.write(b''.join(parts))
