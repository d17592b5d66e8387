// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors
#pragma once
// Amazon Linux 2023 has glibc 2.34; hypotf is the one symbol that Swift's runtime would take from 2.35.
float hypotf(float x, float y);
void natfleet_glibc_compat(void);

/// memfd_create(2), which Swift's Glibc module does not show: an empty file in memory, closed on exec; -1 and errno.
int natfleet_memory_file(void);

/// open(2) with O_TMPFILE: an empty file without a name on the disk of a folder, gone once it is closed; -1 and errno.
int natfleet_unnamed_file(const char *folder);

/// malloc_trim(3): gives free memory back to the system.
void natfleet_trim_memory(void);

/// unshare(CLONE_NEWNET): a new network namespace for the calling thread alone; -1 and errno.
int natfleet_new_network(void);

/// setns(2) of the calling thread to the network namespace of an open /proc/…/ns/net; -1 and errno.
int natfleet_enter_network(int descriptor);

/// SIOCADDRT or SIOCDELRT: a route of a single address through a device, in the network namespace of the calling thread;
/// one that is there already, or gone already, is good. AF_INET or AF_INET6, the address in network byte order; -1 and errno.
int natfleet_host_route(int wanted, int family, const void *address, const char *device);

/// adjtimex(2), which changes nothing here: 1 where a time service has set the clock lately, 0 where none has; -1 and errno.
int natfleet_clock_is_kept(void);
