package record

// statements are what a reader must know of every report.
var statements = []string{
	"This report lists contacts that were observed between hosts and network infrastructure attributed to the entity. A contact with an address is an investigative lead; it is not by itself a blocked property or a rejected transaction.",
	"A host's finding is that host's claim: it was sent under the certificate of the agent on that host, and someone in control of the host could have made or kept back findings. The record proves what arrived at the collector and when, and that it has not been changed since.",
	"Attribution, dates and designations are as of the event, from the packs that were in force on the host then; they are their sources' statements.",
	"Event times are by the host's clock, times of receipt by the collector's.",
	"Silenced findings are listed and marked as suppressed. Findings of self-tests are left out and counted.",
	"What was lost, dropped or not seen is listed for each agent. Times without coverage, and hosts without an agent, prove nothing about contacts.",
}

// Duty is one thing that a report to OFAC or its file needs, and where it is.
type Duty struct {
	Rule  string `json:"rule"`
	Needs string `json:"needs"`
	Where string `json:"where"`
}

// duties say what 31 CFR part 501 asks for, and who has it.
func duties() []Duty {
	return []Duty{
		{"31 CFR 501.601", "full and accurate records of each transaction, kept for at least 10 years (since 2025-03-12)", "the record, its checkpoints and this report; keep them for 10 years, and put what is under review under legal hold"},
		{"31 CFR 501.603", "report of blocked property within 10 business days of the blocking; holder, property, its location and value, date, legal authority", "a person completes it: this record has hosts, times, remotes and the designation, and knows of no property, owner or value"},
		{"31 CFR 501.603", "annual report by 30 September of property held on 30 June", "a person completes it"},
		{"31 CFR 501.604", "report of a rejected transaction within 10 business days of the rejection, by any U.S. person: who submits, date of rejection, legal authority, documentation received, and the parties, where known", "a person completes who, date and authority of the rejection; the contacts, the designation and the packets' digests here are documentation"},
		{"31 CFR 501.603, 501.604", "filing through the OFAC Reporting System", "a person files; the JSON form of this report can be attached"},
	}
}
