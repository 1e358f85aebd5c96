// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Gives the kernel's virtual USB controller what a real one has: a name in the machine's firmware
 * (`firmware_node/path`). libcamera names a webcam by it, and takes none without.
 */
#include <linux/device.h>
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/sysfs.h>

static struct device *controller;
static struct kobject *node;

static ssize_t path_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "\\_SB_.LAB0.XHCI\n");
}

static struct kobj_attribute path = __ATTR_RO(path);

static int __init firmware_node_init(void)
{
	int error;

	controller = bus_find_device_by_name(&platform_bus_type, NULL, "vhci_hcd.0");
	if (!controller)
		return -ENODEV;
	node = kobject_create_and_add("firmware_node", &controller->kobj);
	error = node ? sysfs_create_file(node, &path.attr) : -ENOMEM;
	if (error) {
		kobject_put(node);
		put_device(controller);
	}
	return error;
}

static void __exit firmware_node_exit(void)
{
	kobject_put(node);
	put_device(controller);
}

module_init(firmware_node_init);
module_exit(firmware_node_exit);
MODULE_DESCRIPTION("A name in firmware for the virtual USB controller");
MODULE_LICENSE("Dual MIT/GPL");
