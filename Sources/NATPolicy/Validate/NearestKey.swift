// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// The key that a wrong one was probably meant to be: same letters in other case, or at most two slips away (one for
/// short keys).
func nearest(to key: String, among known: [String]) -> String? {
    let wanted = Array(key.lowercased().unicodeScalars.prefix(33))
    guard wanted.count <= 32 else { return nil }
    let slips = wanted.count <= 3 ? 1 : 2
    return known.map { (key: $0, distance: distance(wanted, Array($0.lowercased().unicodeScalars))) }
        .filter { $0.distance <= slips }
        .min { $0.distance < $1.distance }?
        .key
}

/// Edit distance in which two neighbours swapped count as one slip.
private func distance(_ left: [Unicode.Scalar], _ right: [Unicode.Scalar]) -> Int {
    var beforeLast: [Int] = []
    var last = Array(0...right.count)
    for row in left.indices {
        var current = [row + 1]
        for column in right.indices {
            var best = min(
                last[column + 1] + 1, current[column] + 1, last[column] + (left[row] == right[column] ? 0 : 1))
            if row > 0, column > 0, left[row] == right[column - 1], left[row - 1] == right[column] {
                best = min(best, beforeLast[column - 1] + 1)
            }
            current.append(best)
        }
        (beforeLast, last) = (last, current)
    }
    return last[right.count]
}
