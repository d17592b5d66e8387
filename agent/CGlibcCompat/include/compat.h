// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors
#pragma once
// Amazon Linux 2023 has glibc 2.34; hypotf is the one symbol that Swift's runtime would take from 2.35.
float hypotf(float x, float y);
void natfleet_glibc_compat(void);
