# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
#
# Reads Package.swift, then Swift files; prints violations as file:line: what. -v rules=TABLE as in scripts/check-imports.

function fault(text) {
    print FILENAME ":" FNR ": " text
    failed = 1
}

function inside(file, folders,   list, n, i) {
    n = split(folders, list, " ")
    for (i = 1; i <= n; i++)
        if (index(file, list[i] "/") == 1) return 1
    return 0
}

function target_of(file,   folder) {
    for (folder in targets)
        if (index(file, folder "/") == 1) return targets[folder]
    return ""
}

BEGIN {
    n = split(rules, lines, "\n")
    for (i = 1; i <= n; i++) {
        if (split(lines[i], parts, " : ") != 2) continue
        rule_count++
        modules[rule_count] = "^(" parts[1] ")$"
        folders[rule_count] = parts[2]
    }
    split("Dispatch Foundation FoundationEssentials Glibc Synchronization Testing", list, " ")
    for (i in list) of_toolchain[list[i]] = 1
}

# Each target of Package.swift, its folder and every name that it declares.
FILENAME == "Package.swift" {
    if (/\.(target|executableTarget|testTarget|systemLibrary)\(/ || /^    \],/) {
        if (name != "") targets[folder] = name
        name = ""
        kind = /\(/ ? $0 : ""
    }
    if (kind == "") next
    text = $0
    sub(/\/\/.*/, "", text)
    if (name == "" && match(text, /name: "[A-Za-z0-9]+"/)) {
        name = substr(text, RSTART + 7, RLENGTH - 8)
        folder = (kind ~ /testTarget/ ? "Tests/" : "Sources/") name
        text = substr(text, RSTART + RLENGTH)
    }
    if (match(text, /path: "[^"]+"/)) folder = substr(text, RSTART + 7, RLENGTH - 8)
    gsub(/(path|package): "[^"]+"/, "", text)
    while (match(text, /"[A-Za-z0-9]+"/)) {
        declared[name, substr(text, RSTART + 1, RLENGTH - 2)] = 1
        text = substr(text, RSTART + RLENGTH)
    }
    next
}

FNR == 1 { target = target_of(FILENAME); guarded = 0 }

{
    code = $0
    sub(/\/\/.*/, "", code)

    if (code ~ /(^|[ \t])(public|open)[ \t]+(actor|class|enum|extension|final|func|import|indirect|init|let|macro|protocol|static|struct|subscript|typealias|var)[ \t(]/)
        fault("nothing is public: use package for what crosses targets")
    if (!inside(FILENAME, "Sources/HTTPSClient") && code ~ /@unchecked[ \t]+Sendable|nonisolated\(unsafe\)/)
        fault("unchecked concurrency belongs to Sources/HTTPSClient only")

    # The one form in which code that the agent links may name Foundation.
    if (code ~ /^[ \t]*#if canImport\(FoundationEssentials\)/) guarded = 1
    else if (guarded == 1 && code ~ /import FoundationEssentials[ \t]*$/) guarded = 2
    else if (guarded == 2 && code ~ /^[ \t]*#else/) guarded = 3
    else if (code ~ /^[ \t]*#endif/) guarded = 0
}

match(code, /^[ \t]*((@[A-Za-z_]+(\([^)]*\))?|package|internal|private|fileprivate|public)[ \t]+)*import[ \t]+/) {
    imported = substr(code, RLENGTH + 1)
    sub(/^(actor|class|enum|func|let|protocol|struct|typealias|var)[ \t]+/, "", imported)
    sub(/[^A-Za-z0-9_].*/, "", imported)

    if (inside(FILENAME, "Sources/NetAddress")) fault("NetAddress imports nothing, not even " imported)
    if (imported == "Foundation" && guarded == 3) next
    for (i = 1; i <= rule_count; i++)
        if (imported ~ modules[i] && !inside(FILENAME, folders[i])) fault(imported " belongs to: " folders[i])
    if (target == "") fault("no target of Package.swift has this file")
    else if (!(imported in of_toolchain) && !((target, imported) in declared))
        fault(imported " is not declared as a dependency of " target " in Package.swift")
}

END { exit failed }
