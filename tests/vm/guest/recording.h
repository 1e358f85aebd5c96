/*
 * Pictures to play again and again: a file of pictures, each behind its length (32 bits, little endian).
 * tests/vm/recordings.py writes it.
 */
#ifndef RECORDING_H
#define RECORDING_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct picture {
	uint8_t *bytes;
	uint32_t length;
};

struct recording {
	struct picture *pictures;
	size_t count;
};

/* Reads the file at `path`, or ends the program with a word about it. */
static struct recording read_recording(const char *path)
{
	struct recording recording = { NULL, 0 };
	uint8_t head[4];
	FILE *file = fopen(path, "rb");

	if (!file) {
		perror(path);
		exit(1);
	}
	while (fread(head, 1, sizeof head, file) == sizeof head) {
		struct picture picture;

		picture.length = head[0] | head[1] << 8 | head[2] << 16 | (uint32_t)head[3] << 24;
		picture.bytes = malloc(picture.length);
		if (!picture.bytes || fread(picture.bytes, 1, picture.length, file) != picture.length)
			break;
		recording.pictures = realloc(recording.pictures, (recording.count + 1) * sizeof picture);
		recording.pictures[recording.count++] = picture;
	}
	fclose(file);
	if (!recording.count) {
		fprintf(stderr, "%s: no picture in it\n", path);
		exit(1);
	}
	return recording;
}

#endif
