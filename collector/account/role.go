package account

import "fmt"

// Roles, least first.
const (
	Viewer  = "viewer"  // reads findings and agents
	Analyst = "analyst" // and what exporters parked; sets legal holds
	Auditor = "auditor" // reads everything, the access log, the record and packets among it, and changes nothing
	Admin   = "admin"   // and the access log and the record
)

// Permission is one thing that may be allowed.
type Permission string

// Permissions. Evidence is of no role but the auditor's: packets are given to a
// person or token by name.
const (
	ReadFindings  Permission = "read findings"
	ReadAgents    Permission = "read agents"
	ReadExporters Permission = "read exporters"
	ReadAccessLog Permission = "read access log"
	SetHold       Permission = "set legal hold"
	Decide        Permission = "triage findings"
	ReadEvidence  Permission = "read evidence"
	ReadRecord    Permission = "read the record"
)

var permissions = map[string][]Permission{
	Viewer:  {ReadFindings, ReadAgents},
	Analyst: {ReadFindings, ReadAgents, ReadExporters, SetHold, Decide},
	Auditor: {ReadFindings, ReadAgents, ReadExporters, ReadAccessLog, ReadRecord},
	Admin:   {ReadFindings, ReadAgents, ReadExporters, SetHold, Decide, ReadAccessLog, ReadRecord},
}

func checkRole(role string) error {
	if _, ok := permissions[role]; !ok {
		return fmt.Errorf("role %q is unknown; give viewer, analyst, auditor or admin", role)
	}
	return nil
}

// Principal is who asks.
type Principal struct {
	Name     string // "user:NAME" or "token:NAME", for the access log
	Role     string
	Evidence bool
}

// May says whether something is allowed.
func (p Principal) May(what Permission) bool {
	if what == ReadEvidence {
		return p.Evidence || p.Role == Auditor
	}
	for _, x := range permissions[p.Role] {
		if x == what {
			return true
		}
	}
	return false
}
