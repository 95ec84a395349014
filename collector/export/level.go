package export

import "sallyport/rules"

// level is one severity on every receiver's scale.
type level struct {
	ocsf   int // severity_id
	ecs    int // event.severity, as Elastic's own rules use it
	cef    int // 0 to 10; LEEF's sev is the same
	syslog int // RFC 5424 section 6.2.1
	otlp   int // SeverityNumber
}

func levelOf(s rules.Severity) level {
	switch s {
	case rules.SeverityCritical:
		return level{5, 99, 10, 2, 21}
	case rules.SeverityHigh:
		return level{4, 73, 8, 3, 17}
	case rules.SeverityMedium:
		return level{3, 47, 6, 4, 13}
	case rules.SeverityLow:
		return level{2, 21, 3, 5, 10}
	case rules.SeverityInfo:
		return level{1, 1, 1, 6, 9}
	}
	return level{0, 0, 1, 6, 0}
}
