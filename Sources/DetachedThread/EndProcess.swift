// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Glibc

/// Ends the program as main's last step: what was printed is written, and no exit handler runs.
///
/// exit(3) would run those of OpenSSL, which frees its locks and tables (OPENSSL_cleanup(3)), while a detached thread may
/// still be closing a TLS connection: use after free, a crash after the work was done.
package func endProcess(_ status: Int32) -> Never {
    fflush(nil)
    _exit(status)
}
