// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors
#pragma once
// Amazon Linux 2023 has glibc 2.34; hypotf is the one symbol that Swift's runtime would take from 2.35.
float hypotf(float x, float y);
void natfleet_glibc_compat(void);

/// memfd_create(2), which Swift's Glibc module does not show: an empty file in memory, closed on exec; -1 and errno.
int natfleet_memory_file(void);

/// unshare(CLONE_NEWNET): a new network namespace for the calling thread alone; -1 and errno.
int natfleet_new_network(void);

/// setns(2) of the calling thread to the network namespace of an open /proc/…/ns/net; -1 and errno.
int natfleet_enter_network(int descriptor);
