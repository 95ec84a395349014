package identity

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"sallyport/rules"
)

// Refusal is an answer that is not 2xx, for an agent to act on.
type Refusal struct {
	Status     int
	Code       string // rules.Code...
	Detail     string // for a person
	RetryAfter time.Duration
}

func (r Refusal) Error() string { return fmt.Sprintf("%s: %s", r.Code, r.Detail) }

// Write sends the refusal as a rules.Problem.
func (r Refusal) Write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	if r.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((r.RetryAfter+time.Second-1)/time.Second)))
	}
	w.WriteHeader(r.Status)
	// An error here means that the agent hung up; it will ask again.
	_ = json.NewEncoder(w).Encode(rules.Problem{Code: r.Code, Detail: r.Detail})
}

func forbidden(code, detail string) Refusal {
	return Refusal{Status: http.StatusForbidden, Code: code, Detail: detail}
}
