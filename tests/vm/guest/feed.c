/*
 * Plays a recording into a v4l2loopback device, over and over: feed DEVICE FOURCC WIDTH HEIGHT FPS RECORDING
 */
#include <fcntl.h>
#include <linux/videodev2.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "recording.h"

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

int main(int argc, char **argv)
{
	struct v4l2_format format = { .type = V4L2_BUF_TYPE_VIDEO_OUTPUT };
	struct v4l2_streamparm rate = { .type = V4L2_BUF_TYPE_VIDEO_OUTPUT };
	struct recording recording;
	struct timespec due;
	long interval_ns;
	int device, fps;
	size_t i;

	if (argc != 7 || strlen(argv[2]) != 4) {
		fputs("usage: feed DEVICE FOURCC WIDTH HEIGHT FPS RECORDING\n", stderr);
		return 2;
	}
	fps = atoi(argv[5]);
	recording = read_recording(argv[6]);
	device = open(argv[1], O_WRONLY);
	if (device < 0)
		fail(argv[1]);
	format.fmt.pix.width = atoi(argv[3]);
	format.fmt.pix.height = atoi(argv[4]);
	format.fmt.pix.pixelformat = v4l2_fourcc(argv[2][0], argv[2][1], argv[2][2], argv[2][3]);
	format.fmt.pix.field = V4L2_FIELD_NONE;
	format.fmt.pix.sizeimage = format.fmt.pix.width * format.fmt.pix.height * 2;
	if (ioctl(device, VIDIOC_S_FMT, &format))
		fail("VIDIOC_S_FMT");
	rate.parm.output.timeperframe.numerator = 1;
	rate.parm.output.timeperframe.denominator = fps;
	if (ioctl(device, VIDIOC_S_PARM, &rate))
		fail("VIDIOC_S_PARM");
	interval_ns = 1000000000L / fps;
	clock_gettime(CLOCK_MONOTONIC, &due);
	for (i = 0;; i = (i + 1) % recording.count) {
		if (write(device, recording.pictures[i].bytes, recording.pictures[i].length) < 0)
			fail("write");
		due.tv_nsec += interval_ns;
		due.tv_sec += due.tv_nsec / 1000000000L;
		due.tv_nsec %= 1000000000L;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
	}
}
