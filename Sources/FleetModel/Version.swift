// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// The version of both programs; CHANGELOG.md has a section for each.
package enum NatfleetVersion {
    package static let current = "0.1.0"
}
