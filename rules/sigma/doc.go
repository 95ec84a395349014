// Package sigma reads Sigma 2.1 detection rules and matches events against them.
//
// What it claims it does completely: the condition grammar (and, or, not,
// parentheses, "1 of" and "all of" with "them" or a pattern, lists of
// conditions), maps, lists of maps, keywords, null, numbers, booleans, wildcards
// and escaping, and the modifiers all, cased, cidr, contains, endswith, exists,
// expand, fieldref, gt, gte, lt, lte, neq, re (with i, m, s) and startswith.
//
// Everything else is refused by name, with the file and the line: correlation
// rules and Sigma filters, aggregations, the encoding modifiers (base64,
// base64offset, utf16, utf16le, utf16be, wide), windash, the time modifiers,
// another taxonomy than "sigma", YAML anchors and aliases, several documents in
// one file. A rule that would silently never fire is worse than a refused one.
//
// Regular expressions are Go's (RE2), a superset of the flavour the
// specification defines; what RE2 lacks (look-around, back-references) is refused.
package sigma
