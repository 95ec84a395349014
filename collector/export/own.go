package export

import (
	"time"

	"sallyport/rules"
)

// own is what the finding says and the receiver's schema has no field for. It
// goes out under a key of ours. Packets do not: they stay in the JSON format and
// in the collector, which keeps them under their own permission.
type own struct {
	ID             string                  `json:"id"`
	Revision       uint64                  `json:"revision"`
	State          string                  `json:"state"`
	Test           bool                    `json:"test,omitempty"`
	Retro          bool                    `json:"retro,omitempty"`
	Suppressed     *rules.Suppressed       `json:"suppressed,omitempty"`
	Pack           string                  `json:"pack,omitempty"`
	Confidence     string                  `json:"confidence,omitempty"`
	Why            []string                `json:"why,omitempty"`
	Count          uint64                  `json:"count,omitempty"`
	First          time.Time               `json:"first,omitzero"`
	Last           time.Time               `json:"last,omitzero"`
	Matches        []rules.Match           `json:"matches,omitempty"`
	FlowID         string                  `json:"flow_id,omitempty"`
	Sensor         string                  `json:"sensor,omitempty"`
	Direction      rules.Direction         `json:"direction,omitempty"`
	Outcome        rules.Outcome           `json:"outcome,omitempty"`
	Attribution    rules.Attribution       `json:"attribution,omitempty"`
	Intermediary   string                  `json:"intermediary,omitempty"`
	RemoteAsked    *rules.Endpoint         `json:"remote_asked,omitempty"`
	Hidden         *rules.Hidden           `json:"hidden,omitempty"`
	Identification rules.Identification    `json:"identification,omitzero"`
	Names          []rules.Name            `json:"names,omitempty"`
	JA4            string                  `json:"ja4,omitempty"`
	ECH            bool                    `json:"ech,omitempty"`
	Certificates   []rules.CertificateFact `json:"certificates,omitempty"`
	SSH            *rules.SSHFacts         `json:"ssh,omitempty"`
	Notes          []string                `json:"notes,omitempty"`
	Loss           *rules.Loss             `json:"loss,omitempty"`
	Evidence       *digest                 `json:"evidence,omitempty"`
}

// digest names the packets that are kept elsewhere.
type digest struct {
	Packets int    `json:"packets"`
	SHA256  string `json:"sha256"`
}

func ownOf(f *rules.Finding) own {
	o := &f.Observation
	w := own{
		ID: f.ID, Revision: f.Revision, State: f.State, Test: f.Test, Retro: f.Retro, Suppressed: f.Suppressed,
		Pack: f.Agent.Pack, Confidence: f.Confidence, Why: f.Why, Count: f.Count, First: f.First, Last: f.Last, Matches: f.Matches,
		FlowID: o.FlowID, Sensor: o.Sensor, Direction: o.Direction, Outcome: o.Outcome,
		Attribution: o.Owner.Attribution, Intermediary: o.Owner.Intermediary,
		RemoteAsked: o.RemoteAsked, Hidden: o.Hidden, Identification: o.Identification, Names: o.Names,
		SSH: o.SSH, Notes: o.Notes, Loss: f.Loss,
	}
	if t := o.TLS; t != nil {
		w.JA4, w.ECH, w.Certificates = t.JA4, t.ECH, t.Certificates
	}
	if e := f.Evidence; e != nil {
		w.Evidence = &digest{e.Packets, e.SHA256}
	}
	return w
}
