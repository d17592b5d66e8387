// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// `body` for each of a few at once; all have ended when this returns or throws, and the first one's failure is the one told.
func sideBySide<Key: Hashable & Sendable, Value: Sendable, Failure: Error>(
    _ keys: [Key], _ body: @escaping @Sendable (Key) async throws(Failure) -> Value
) async throws(Failure) -> [Key: Value] {
    typealias Ending = Result<Value, Failure>
    let endings = await withTaskGroup(of: (Key, Ending).self) { group in
        for key in keys {
            group.addTask {
                do throws(Failure) {
                    return (key, .success(try await body(key)))
                } catch {
                    return (key, .failure(error))
                }
            }
        }
        return await group.reduce(into: [Key: Ending]()) { $0[$1.0] = $1.1 }
    }
    var values: [Key: Value] = [:]
    for key in keys { values[key] = try endings[key]?.get() }
    return values
}
