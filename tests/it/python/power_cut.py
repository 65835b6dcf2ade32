#!/usr/bin/env python3
"""Shuts an ext4 file system down without flushing its log: what was not synced is lost, as in a power cut.

usage: power_cut.py MOUNT_POINT      (root; only for a throw-away loop device)
"""

import fcntl
import os
import struct
import sys

# linux/fs/ext4/ext4.h: EXT4_IOC_SHUTDOWN is _IOR('X', 125, __u32); flag 2 is NOLOGFLUSH.
EXT4_IOC_SHUTDOWN = 2 << 30 | 4 << 16 | ord("X") << 8 | 125
NO_LOG_FLUSH = struct.pack("I", 2)

if len(sys.argv) != 2 or not os.path.ismount(sys.argv[1]) or os.path.realpath(sys.argv[1]) == "/":
    sys.exit(__doc__)
handle = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
fcntl.ioctl(handle, EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH)
os.close(handle)
