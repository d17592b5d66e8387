// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import NATPolicy
import NetAddress

/// - Throws: `FleetError` badRequest for keys and values that no selector could name, and for more than 64.
func checkLabels(_ labels: [String: String]) throws(FleetError) {
    guard labels.count <= 64 else {
        throw FleetError(.badRequest, "\(labels.count) labels", remedy: "give at most 64")
    }
    for (key, value) in labels {
        guard NameRule.isLabelKey(key) else {
            throw FleetError(
                .badRequest, "\(quoted(key)) is not a label key",
                remedy: "use letters, digits, '.', '_', '-' and '/', at most 128")
        }
        guard NameRule.isLabelValue(value) else {
            throw FleetError(
                .badRequest, "\(quoted(value)) of label '\(key)' is not a label value",
                remedy: "use letters, digits and any of '._/:@+-', at most 128")
        }
    }
}

/// - Throws: `FleetError` badRequest.
func checkInstanceID(_ id: String) throws(FleetError) {
    guard NameRule.isName(id) else {
        throw FleetError(
            .badRequest, "\(quoted(id)) is not an instance id",
            remedy: "use letters, digits, '.', '_' and '-', at most 63")
    }
}
