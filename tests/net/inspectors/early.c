/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers the newest of three packets first, with another payload, and dies with the others in hand.
 */
#include <spillway/inspector.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
	const struct spw_lane_config config = {.size = sizeof(config), .window = 8};
	struct spw_event events[8];
	uint64_t newest = 0;
	uint8_t copy[2048];
	size_t len = 0;
	struct spw_lane *lane = NULL;
	unsigned have = 0;

	if (spw_lane_attach(&lane, &config) || spw_lane_ready(lane))
		return 1;
	while (have < 3) {
		int n = spw_lane_next(lane, events, 8, -1);

		if (n < 0)
			return 0;
		for (int i = 0; i < n && ++have <= 3; i++) {
			newest = events[i].handle;
			len = events[i].packet->payload_len;
			memcpy(copy, events[i].packet->payload, len < sizeof(copy) ? len : sizeof(copy));
		}
	}
	memset(copy + len - 4, 'x', 4);
	if (spw_lane_verdict(lane, newest,
			     &(struct spw_verdict){.size = sizeof(struct spw_verdict),
						   .code = SPW_ACCEPT,
						   .set = SPW_VERDICT_PAYLOAD,
						   .payload = copy,
						   .payload_len = len}))
		return 1;
	spw_lane_flush(lane);
	usleep(50000);
	abort();
}
