/* criterion_start.c - Criterion's programs start without libgit2, which reads every certificate of the machine */
#include <dlfcn.h>
#include <stddef.h>

/*
 * Criterion runs each case in a process of its own, and each calls git_libgit2_init() before its first
 * line: Debian's libgit2 then parses /etc/ssl/certs/ca-certificates.crt, which is half of what a case of
 * ours costs, sanitized or not. Criterion needs libgit2 only to show how two strings differ, after a
 * failure: then it is started. These stand before the library's, as a program's own symbols do.
 */
int git_libgit2_init(void);
int git_libgit2_shutdown(void);
int git_diff_buffers(const void *old_buffer, size_t old_len, const char *old_as_path,
		     const void *new_buffer, size_t new_len, const char *new_as_path,
		     const void *options, void *file_cb, void *binary_cb, void *hunk_cb,
		     void *line_cb, void *payload);

int git_libgit2_init(void)
{
	return 1;
}

int git_libgit2_shutdown(void)
{
	return 0;
}

int git_diff_buffers(const void *old_buffer, size_t old_len, const char *old_as_path,
		     const void *new_buffer, size_t new_len, const char *new_as_path,
		     const void *options, void *file_cb, void *binary_cb, void *hunk_cb,
		     void *line_cb, void *payload)
{
	int (*init)(void);
	__typeof__(&git_diff_buffers) diff;

	*(void **)&init = dlsym(RTLD_NEXT, "git_libgit2_init");
	*(void **)&diff = dlsym(RTLD_NEXT, "git_diff_buffers");
	if (!init || !diff || init() < 0)
		return -1;
	return diff(old_buffer, old_len, old_as_path, new_buffer, new_len, new_as_path, options,
		    file_cb, binary_cb, hunk_cb, line_cb, payload);
}
