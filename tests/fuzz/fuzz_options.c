/* fuzz_options.c - any bytes as the options of a segment; the first byte says whether it is a SYN */
#include "nic/inet/tcp_header.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vly_tcp_options options, again;

	if (size < 1 || size > 65)
		return 0;
	bool is_syn = data[0] & 1;
	enum vly_inet_drop drop =
		vly_tcp_options_parse(data + 1, (uint32_t)size - 1, is_syn, &options);

	fuzz_claim(drop == VLY_DROP_NONE || drop == VLY_DROP_TCP_OPTIONS);
	if (drop)
		return 0;
	fuzz_claim(size - 1 <= VLY_TCP_OPTIONS_BYTES_MAX);
	fuzz_claim(options.wscale <= VLY_TCP_WSCALE_MAX);
	fuzz_claim(options.sack_count <= VLY_TCP_SACKS_MAX);
	fuzz_claim(is_syn || !(options.has & (VLY_TCP_HAS_MSS | VLY_TCP_HAS_WSCALE |
					      VLY_TCP_HAS_SACK_PERMITTED)));
	/* Padding changes nothing. */
	uint8_t padded[VLY_TCP_OPTIONS_BYTES_MAX + 1];

	if (size - 1 == VLY_TCP_OPTIONS_BYTES_MAX)
		return 0;
	padded[0] = VLY_TCP_OPT_NOP;
	memcpy(padded + 1, data + 1, size - 1);
	drop = vly_tcp_options_parse(padded, (uint32_t)size, is_syn, &again);
	fuzz_claim(drop == VLY_DROP_NONE && memcmp(&options, &again, sizeof(again)) == 0);
	return 0;
}
