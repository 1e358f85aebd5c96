# The codec, and the part of V4L2 that Debian's kernel leaves out because no driver of its own needs it.
obj-m := vicodec.o v4l2-mem2mem.o
vicodec-objs := vicodec-core.o codec-fwht.o codec-v4l2-fwht.o
