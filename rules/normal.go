package rules

// Normal returns the one spelling of a value of this type, for importers: feeds
// write addresses, names and hashes in many ways. It does not say whether the
// value may be an indicator; CheckValue does. The error is a *ValueError.
func Normal(kind IndicatorType, value string) (string, error) { return normalise(kind, value) }
