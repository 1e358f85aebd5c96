/*
 * A USB webcam without hardware: usbcam PORT MJPG|YUYV RECORDING
 *
 * Plugs a camera (USB Video Class, one bulk endpoint, 640x480 at 15 fps) into port PORT of the kernel's virtual host
 * controller (vhci_hcd), which speaks USB/IP over a socket that it is given; the real uvcvideo driver takes it from
 * there. It has a brightness, a contrast and a saturation, and says what they are set to; its picture stays as it is.
 * Ending this program pulls the camera out.
 *
 * References: Documentation/usb/usbip_protocol.rst of the kernel; "USB Device Class Definition for Video Devices" 1.1.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "recording.h"

enum {
	WIDTH = 640,
	HEIGHT = 480,
	INTERVAL_100NS = 666666, /* the processor is emulated: 15 fps leave it time for perch */
	FRAME_NS = 66666600,
	LARGEST_FRAME = WIDTH * HEIGHT * 2,
	PAYLOAD = 16384,
	SPEED_HIGH = 3,
	MOST_URBS = 256,
	LARGEST_OUT = 65536,
};

/* USB/IP: 48 bytes of big-endian words, then data. */
enum { CMD_SUBMIT = 1, CMD_UNLINK = 2, RET_SUBMIT = 3, RET_UNLINK = 4, HEADER_WORDS = 12 };

/* The processing unit and its controls (section 4.2.2.3), two bytes each. */
enum { PROCESSING_UNIT = 3, SET_CUR = 0x01, GET_CUR = 0x81, GET_MIN, GET_MAX, GET_RES, GET_LEN, GET_INFO, GET_DEF };

static struct setting {
	uint8_t selector;
	const char *name;
	int16_t least, most, first, now;
} settings[] = {
	{ 2, "brightness", -64, 64, 0, 0 },
	{ 3, "contrast", 0, 64, 32, 32 },
	{ 7, "saturation", 0, 128, 64, 64 },
};

struct urb {
	uint32_t sequence;
	uint32_t length;
};

static int wire; /* our end of the socket */
static struct urb waiting[MOST_URBS]; /* for a picture's data, oldest first */
static size_t waiting_count;
static int is_streaming;

/* ---- descriptors */

struct bytes {
	uint8_t at[256];
	size_t length;
};

static void put(struct bytes *to, size_t count, uint32_t little_endian)
{
	while (count--) {
		to->at[to->length++] = (uint8_t)little_endian;
		little_endian >>= 8;
	}
}

/* Bytes given one by one. */
#define PUT(to, ...) put_each(to, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void put_each(struct bytes *to, const uint8_t *from, size_t count)
{
	memcpy(to->at + to->length, from, count);
	to->length += count;
}

static const uint8_t device_descriptor[] = {
	18, 1, 0x00, 0x02, /* USB 2.0 */
	0xef, 2, 1, 64, /* interface associations */
	0x6b, 0x1d, 0x02, 0x01, 0x00, 0x01, /* vendor, product, release */
	1, 2, 3, 1, /* strings, one configuration */
};

static const char *const strings[] = { "", "perch", "Simulated USB camera", "0001" };

static struct bytes configuration(int is_mjpeg)
{
	struct bytes out = { .length = 0 };
	size_t format_length = is_mjpeg ? 11 : 27, frame_length = 30;

	PUT(&out, 9, 2, 0, 0, 2, 1, 0, 0x80, 250); /* total length: below */
	PUT(&out, 8, 0x0b, 0, 2, 0x0e, 3, 0, 0); /* these two interfaces are one camera */
	/* video control: a sensor that leads through the processing unit to the USB */
	PUT(&out, 9, 4, 0, 0, 0, 0x0e, 1, 0, 0);
	PUT(&out, 13, 0x24, 1, 0x00, 0x01);
	put(&out, 2, 13 + 18 + 11 + 9);
	put(&out, 4, 48000000);
	PUT(&out, 1, 1);
	PUT(&out, 18, 0x24, 2, 1, 0x01, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0);
	PUT(&out, 11, 0x24, 5, PROCESSING_UNIT, 1, 0, 0, 2, 0x0b, 0, 0); /* brightness, contrast, saturation */
	PUT(&out, 9, 0x24, 3, 2, 0x01, 0x01, 0, PROCESSING_UNIT, 0);
	/* video streaming: one format in one size and rate */
	PUT(&out, 9, 4, 1, 0, 1, 0x0e, 2, 0, 0);
	PUT(&out, 14, 0x24, 1, 1);
	put(&out, 2, (uint32_t)(14 + format_length + frame_length));
	PUT(&out, 0x81, 0, 2, 0, 0, 0, 1, 0);
	if (is_mjpeg) {
		PUT(&out, 11, 0x24, 6, 1, 1, 1, 1, 0, 0, 0, 0);
	} else {
		PUT(&out, 27, 0x24, 4, 1, 1, 'Y', 'U', 'Y', '2', 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71);
		PUT(&out, 16, 1, 0, 0, 0, 0);
	}
	PUT(&out, 30, 0x24, is_mjpeg ? 7 : 5, 1, 0);
	put(&out, 2, WIDTH);
	put(&out, 2, HEIGHT);
	put(&out, 4, 1000000);
	put(&out, 4, 150000000);
	put(&out, 4, LARGEST_FRAME);
	put(&out, 4, INTERVAL_100NS);
	PUT(&out, 1);
	put(&out, 4, INTERVAL_100NS);
	PUT(&out, 7, 5, 0x81, 2, 0x00, 0x02, 0); /* bulk, 512 bytes */
	out.at[2] = (uint8_t)out.length;
	out.at[3] = (uint8_t)(out.length >> 8);
	return out;
}

static struct bytes string_descriptor(unsigned int index)
{
	struct bytes out = { .length = 0 };
	const char *text = strings[index < 4 ? index : 0];

	if (index == 0) {
		PUT(&out, 4, 3, 0x09, 0x04); /* in English */
		return out;
	}
	PUT(&out, (uint8_t)(2 + 2 * strlen(text)), 3);
	while (*text)
		put(&out, 2, (uint8_t)*text++);
	return out;
}

/* What the camera proposes and agrees to: the only thing it can. */
static struct bytes stream_parameters(void)
{
	struct bytes out = { .length = 0 };

	put(&out, 2, 0);
	PUT(&out, 1, 1); /* format, size */
	put(&out, 4, INTERVAL_100NS);
	put(&out, 10, 0);
	put(&out, 4, LARGEST_FRAME);
	put(&out, 4, PAYLOAD);
	return out;
}

/* ---- USB/IP */

static void leave(const char *why)
{
	printf("usbcam: %s\n", why);
	exit(0);
}

static void read_all(void *bytes, size_t length)
{
	char *to = bytes;

	while (length) {
		ssize_t n = read(wire, to, length);

		if (n <= 0)
			leave("the host controller hung up");
		to += n;
		length -= (size_t)n;
	}
}

static void write_all(const void *bytes, size_t length)
{
	const char *from = bytes;

	while (length) {
		ssize_t n = write(wire, from, length);

		if (n <= 0)
			leave("the host controller hung up");
		from += n;
		length -= (size_t)n;
	}
}

static void answer(uint32_t kind, uint32_t sequence, int status, const void *data, size_t data_length, size_t actual)
{
	uint32_t header[HEADER_WORDS] = { htonl(kind), htonl(sequence) };

	header[5] = htonl((uint32_t)status);
	header[6] = htonl((uint32_t)actual);
	write_all(header, sizeof header);
	if (data_length)
		write_all(data, data_length);
}

static void unlink_urb(uint32_t sequence, uint32_t target)
{
	size_t i = 0;

	while (i < waiting_count && waiting[i].sequence != target)
		i++;
	if (i == waiting_count) {
		answer(RET_UNLINK, sequence, 0, NULL, 0, 0);
		return;
	}
	memmove(&waiting[i], &waiting[i + 1], (--waiting_count - i) * sizeof waiting[0]);
	answer(RET_UNLINK, sequence, -ECONNRESET, NULL, 0, 0);
	if (!waiting_count)
		is_streaming = 0;
}

/* What the processing unit says to `request`; whether it can. */
static int tell_setting(struct bytes *out, const struct setting *setting, uint8_t request)
{
	switch (request) {
	case GET_CUR: put(out, 2, (uint16_t)setting->now); return 1;
	case GET_MIN: put(out, 2, (uint16_t)setting->least); return 1;
	case GET_MAX: put(out, 2, (uint16_t)setting->most); return 1;
	case GET_DEF: put(out, 2, (uint16_t)setting->first); return 1;
	case GET_RES: put(out, 2, 1); return 1;
	case GET_LEN: put(out, 2, 2); return 1;
	case GET_INFO: PUT(out, 3); return 1; /* can be read and written */
	default: return 0;
	}
}

static int change_setting(struct setting *setting, const uint8_t *data, uint32_t length)
{
	int16_t value = length == 2 ? (int16_t)(data[0] | data[1] << 8) : INT16_MIN;

	if (value < setting->least || value > setting->most)
		return 0;
	setting->now = value;
	printf("usbcam: %s is %d\n", setting->name, value);
	return 1;
}

static struct setting *setting_of(uint8_t selector)
{
	for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
		if (settings[i].selector == selector)
			return &settings[i];
	return NULL;
}

/* A request to endpoint 0. Video Class requests are those of its sections 4.3.1.1 (probe and commit) and 4.2.2.3. */
static void control(uint32_t sequence, const uint8_t setup[8], const uint8_t *data, uint32_t length, int is_mjpeg)
{
	uint8_t kind = setup[0], request = setup[1], selector = setup[3], interface = setup[4], unit = setup[5];
	size_t most = setup[6] | setup[7] << 8;
	struct setting *setting = interface == 0 && unit == PROCESSING_UNIT ? setting_of(selector) : NULL;
	struct bytes out = { .length = 0 };
	int is_known = 1;

	if (kind == 0x80 && request == 6 && selector == 1) {
		put_each(&out, device_descriptor, sizeof device_descriptor);
	} else if (kind == 0x80 && request == 6 && selector == 2) {
		out = configuration(is_mjpeg);
	} else if (kind == 0x80 && request == 6 && selector == 3) {
		out = string_descriptor(setup[2]);
	} else if (kind == 0x80 && request == 0) { /* GET_STATUS */
		put(&out, 2, 0);
	} else if (kind == 0xa1 && interface == 1 && (selector == 1 || selector == 2)) {
		if (request == 0x86) /* GET_INFO: can be read and written */
			PUT(&out, 3);
		else if (request == 0x85) /* GET_LEN */
			put(&out, 2, (uint32_t)stream_parameters().length);
		else
			out = stream_parameters();
	} else if (kind == 0x21 && interface == 1 && request == 1) {
		if (selector == 2)
			is_streaming = 1;
	} else if (kind == 0xa1 && setting) {
		is_known = tell_setting(&out, setting, request);
	} else if (kind == 0x21 && setting && request == SET_CUR) {
		is_known = change_setting(setting, data, length);
	} else if (!(kind & 0x80) && !(kind & 0x60)) {
		if (request == 1) /* CLEAR_FEATURE of the endpoint: how a bulk stream is stopped */
			is_streaming = 0;
	} else {
		is_known = 0;
	}
	if (!is_known)
		answer(RET_SUBMIT, sequence, -EPIPE, NULL, 0, 0);
	else if (kind & 0x80)
		answer(RET_SUBMIT, sequence, 0, out.at, out.length < most ? out.length : most,
		       out.length < most ? out.length : most);
	else
		answer(RET_SUBMIT, sequence, 0, NULL, 0, length);
}

static void one_command(int is_mjpeg)
{
	static uint8_t from_host[LARGEST_OUT];
	uint32_t header[HEADER_WORDS];
	uint32_t sequence, length, endpoint;
	int is_in;

	read_all(header, sizeof header);
	sequence = ntohl(header[1]);
	is_in = ntohl(header[3]) == 1;
	endpoint = ntohl(header[4]);
	if (ntohl(header[0]) == CMD_UNLINK) {
		unlink_urb(sequence, ntohl(header[5]));
		return;
	}
	length = ntohl(header[6]);
	if (!is_in && length > LARGEST_OUT)
		leave("the host controller sent more than a webcam takes");
	if (!is_in)
		read_all(from_host, length);
	if (endpoint == 0)
		control(sequence, (const uint8_t *)&header[10], from_host, length, is_mjpeg);
	else if (is_in && waiting_count < MOST_URBS)
		waiting[waiting_count++] = (struct urb){ sequence, length };
	else
		answer(RET_SUBMIT, sequence, 0, NULL, 0, length);
}

/* ---- pictures */

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Sends as much of the picture as there are URBs for; whether all of it is on its way. */
static int send_picture(const struct picture *picture, size_t *sent, int frame_id)
{
	static uint8_t payload[PAYLOAD];

	while (waiting_count) {
		struct urb urb = waiting[0];
		size_t most = (urb.length < PAYLOAD ? urb.length : PAYLOAD) - 2;
		size_t left = picture->length - *sent, count = left < most ? left : most;

		memmove(&waiting[0], &waiting[1], --waiting_count * sizeof waiting[0]);
		payload[0] = 2; /* length of this header */
		payload[1] = (uint8_t)(0x80 | (count == left ? 2 : 0) | frame_id); /* the last of its picture */
		memcpy(payload + 2, picture->bytes + *sent, count);
		*sent += count;
		answer(RET_SUBMIT, urb.sequence, 0, payload, count + 2, count + 2);
		if (*sent == picture->length)
			return 1;
	}
	return 0;
}

static void plug_in(int port)
{
	char text[64];
	int ends[2], attach, length;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) {
		perror("socketpair");
		exit(1);
	}
	wire = ends[0];
	length = snprintf(text, sizeof text, "%d %d %d %d", port, ends[1], 0x10001 + port, SPEED_HIGH);
	attach = open("/sys/devices/platform/vhci_hcd.0/attach", O_WRONLY);
	if (attach < 0 || write(attach, text, (size_t)length) < 0) {
		perror("vhci_hcd: attach");
		exit(1);
	}
	close(attach);
	close(ends[1]);
}

int main(int argc, char **argv)
{
	struct recording recording;
	int64_t due = 0;
	size_t number = 0, sent = 0;
	int is_mjpeg, is_sending = 0;

	if (argc != 4) {
		fputs("usage: usbcam PORT MJPG|YUYV RECORDING\n", stderr);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	is_mjpeg = !strcmp(argv[2], "MJPG");
	recording = read_recording(argv[3]);
	plug_in(atoi(argv[1]));
	for (;;) {
		struct pollfd ready = { .fd = wire, .events = POLLIN };

		poll(&ready, 1, is_streaming ? 2 : 1000);
		if (ready.revents & POLLIN)
			one_command(is_mjpeg);
		else if (ready.revents)
			leave("the host controller hung up");
		if (!is_streaming) {
			due = 0;
			is_sending = 0;
			sent = 0;
			continue;
		}
		if (!is_sending && waiting_count && now_ns() >= due) {
			/* Late by more than a picture: no need to catch up. */
			due = (now_ns() - due > FRAME_NS ? now_ns() : due) + FRAME_NS;
			is_sending = 1;
		}
		if (is_sending && send_picture(&recording.pictures[number % recording.count], &sent, number & 1)) {
			is_sending = 0;
			sent = 0;
			number++;
		}
	}
}
