// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Crypto

/// SHA-256, lower-case hexadecimal. Enough to store a secret under when the secret is 256 random bits.
package func sha256(_ bytes: some Sequence<UInt8>) -> String {
    hexadecimal(SHA256.hash(data: Array(bytes)))
}

package func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef")
    return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
}

extension Surroundings {
    /// A secret of 256 random bits behind a prefix that says what it is for (and lets scanners find leaked ones).
    package func secret(prefix: String) -> String { "\(prefix)_\(hexadecimal(randomBytes(32)))" }

    /// A short random name.
    package func identifier() -> String { hexadecimal(randomBytes(6)) }
}
