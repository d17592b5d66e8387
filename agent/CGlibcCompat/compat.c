// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors
#define _GNU_SOURCE
#include "compat.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <math.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <unistd.h>

// Not hypot(): glibc 2.35 gave that a new version as well. A double holds the squares of any two floats.
float hypotf(float x, float y) {
    if (isinf(x) || isinf(y)) return INFINITY;
    return (float)sqrt((double)x * x + (double)y * y);
}
void natfleet_glibc_compat(void) {}

int natfleet_memory_file(void) { return memfd_create("natfleet-input", MFD_CLOEXEC); }

int natfleet_unnamed_file(const char *folder) { return open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); }

// Before the first thread: glibc settles how many arenas there may be when a second thread allocates. Threads that are hardly
// ever busy at once need none of their own, and what is large must not stay as holes in the heap: an agent waits most of
// its life.
__attribute__((constructor)) static void keep_little_memory(void) {
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 64 << 10);
}

void natfleet_trim_memory(void) { malloc_trim(0); }

int natfleet_new_network(void) { return unshare(CLONE_NEWNET); }

int natfleet_enter_network(int descriptor) { return setns(descriptor, CLONE_NEWNET); }

int natfleet_host_route(int wanted, int family, const void *address, const char *device) {
    struct rtentry route4 = {0};
    struct in6_rtmsg route6 = {0};
    if (family == AF_INET) {
        struct sockaddr_in to = {.sin_family = AF_INET}, mask = {.sin_family = AF_INET};
        memcpy(&to.sin_addr, address, sizeof to.sin_addr);
        mask.sin_addr.s_addr = INADDR_NONE;
        memcpy(&route4.rt_dst, &to, sizeof to);
        memcpy(&route4.rt_genmask, &mask, sizeof mask);
        route4.rt_flags = RTF_UP | RTF_HOST;
        route4.rt_dev = (char *)device;
    } else {
        memcpy(&route6.rtmsg_dst, address, sizeof route6.rtmsg_dst);
        route6.rtmsg_dst_len = 128;
        // Before any other one to this address.
        route6.rtmsg_metric = 1;
        route6.rtmsg_flags = RTF_UP | RTF_HOST;
        route6.rtmsg_ifindex = (int)if_nametoindex(device);
        if (route6.rtmsg_ifindex == 0) return -1;
    }
    int number = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (number < 0) return -1;
    int status = ioctl(number, wanted ? SIOCADDRT : SIOCDELRT, family == AF_INET ? (void *)&route4 : (void *)&route6);
    int code = status < 0 ? errno : 0;
    close(number);
    if (code == 0 || code == (wanted ? EEXIST : ESRCH)) return 0;
    errno = code;
    return -1;
}

int natfleet_clock_is_kept(void) {
    struct timex state = {0};
    if (adjtimex(&state) < 0) return -1;
    return (state.status & STA_UNSYNC) == 0;
}
