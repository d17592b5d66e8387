// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

#if DEBUG
    import Glibc
#endif

/// Places where tests end the agent as a power cut would; in a release build there are none.
enum FaultPoint {
    /// Kills this process where NATFLEET_FAULT_POINT names the place.
    static func reach(_ name: String) {
        #if DEBUG
            guard let wanted = getenv("NATFLEET_FAULT_POINT"), String(cString: wanted) == name else { return }
            kill(getpid(), SIGKILL)
        #endif
    }
}
