package export

import (
	"sallyport/rules"
)

// ocsfVersion is the release of the Open Cybersecurity Schema Framework that is
// written: https://schema.ocsf.io/1.8.0.
const ocsfVersion = "1.8.0"

// Classes of OCSF 1.8.
const (
	ocsfDetection = 2004
	ocsfNetwork   = 4001
	ocsfRDP       = 4005
	ocsfTunnel    = 4014
)

// ocsfFormat writes a Detection Finding whose evidence is the flow, or, with
// activity, the flow's own class with the match as its osint. A finding without a
// flow is a Detection Finding in both.
type ocsfFormat struct{ activity bool }

func (ocsfFormat) ContentType() string { return "application/json" }

func (x ocsfFormat) Append(dst []byte, item *Item) ([]byte, error) {
	f := &item.Finding
	if x.activity && hasFlow(f) {
		return ocsfActivity(f).appendTo(dst)
	}
	return ocsfFinding(f).appendTo(dst)
}

// ocsfBase is what every class has.
func ocsfBase(f *rules.Finding, class, activity int) object {
	o := object{
		"category_uid": class / 1000,
		"class_uid":    class,
		"activity_id":  activity,
		"type_uid":     class*100 + activity,
		"severity_id":  levelOf(f.Severity).ocsf,
		"time":         f.Created.UnixMilli(),
		"metadata":     ocsfMetadata(f),
		"unmapped":     object{"sallyport": ownOf(f)},
	}
	o.put("severity", string(f.Severity)).put("message", summary(f))
	o.put("start_time", milliseconds(f.First)).put("end_time", milliseconds(f.Last)).put("count", f.Count)
	o.put("device", ocsfDevice(f)).put("actor", ocsfActor(&f.Observation)).put("osint", ocsfIntelligence(f.Matches))
	return o.put("observables", ocsfObservables(f, class))
}

func ocsfMetadata(f *rules.Finding) object {
	profiles := []string{"host"}
	if len(f.Matches) > 0 {
		profiles = append(profiles, "osint")
	}
	product := object{"name": "Sallyport", "vendor_name": "Sallyport"}
	m := object{"version": ocsfVersion, "product": product.put("version", f.Agent.Version), "profiles": profiles}
	return m.put("uid", f.MessageID()).put("correlation_uid", f.ID).put("event_code", f.Rule.ID).put("sequence", f.Revision)
}

// ocsfFinding is class 2004. Its status is the analyst's to move, so that every
// finding is new until then; an allow-list suppresses.
func ocsfFinding(f *rules.Finding) object {
	activity := map[string]int{rules.StateOpened: 1, rules.StateUpdated: 2, rules.StateClosed: 3}[f.State]
	o := ocsfBase(f, ocsfDetection, activity)
	info := object{"uid": f.ID, "analytic": ocsfAnalytic(f.Rule)}
	info.put("title", f.Title).put("desc", summary(f)).put("attacks", ocsfAttacks(f.Rule.Tags))
	info.put("created_time", milliseconds(f.First)).put("modified_time", milliseconds(f.Created))
	info.put("first_seen_time", milliseconds(f.First)).put("last_seen_time", milliseconds(f.Last))
	o["finding_info"] = info
	o["is_alert"] = f.Suppressed == nil && !f.Test && f.State != rules.StateClosed
	o["status_id"], o["status"] = 1, "New"
	if f.Suppressed != nil {
		o["status_id"], o["status"] = 3, "Suppressed"
		o.put("comment", f.Suppressed.Reason)
	}
	if id := ocsfConfidence(f.Confidence); id != 0 {
		o["confidence_id"], o["confidence"] = id, f.Confidence
	}
	if hasFlow(f) {
		o["evidences"] = []object{ocsfEvidence(f)}
	}
	return o
}

func ocsfEvidence(f *rules.Finding) object {
	o := &f.Observation
	e := ocsfFlow(o).put("actor", ocsfActor(o)).put("container", ocsfContainer(o.Owner.Container))
	e.put("uid", o.FlowID).put("name", identified(o))
	if f.Test {
		e["verdict_id"], e["verdict"] = 6, "Test"
	}
	if o.Query != "" {
		e["query"] = object{"hostname": o.Query}
	}
	if o.TLS != nil && o.TLS.JA4 != "" {
		e["ja4_fingerprint_list"] = []object{ocsfJA4(o.TLS.JA4)}
	}
	return e
}

// ocsfActivity is the class of the flow itself.
func ocsfActivity(f *rules.Finding) object {
	obs := &f.Observation
	class := ocsfNetwork
	switch rules.ClassOf(obs.Identification.Protocol) {
	case rules.ClassRemoteDesktop:
		class = ocsfRDP
	case rules.ClassVPN:
		class = ocsfTunnel
	}
	o := ocsfBase(f, class, ocsfActivityID(class, obs))
	for k, v := range ocsfFlow(obs) {
		o[k] = v
	}
	if o["activity_id"] == 99 {
		o["activity_name"] = string(obs.Outcome)
	}
	o["traffic"] = ocsfTraffic(obs)
	o["status_id"] = 1 // Success
	if obs.Outcome != rules.OutcomeEstablished && obs.Outcome != rules.OutcomeData {
		o["status_id"] = 2 // Failure
	}
	o.put("status_detail", string(obs.Outcome)).put("attacks", ocsfAttacks(f.Rule.Tags))
	o.put("app_protocol_name", identified(obs)).put("app_name", obs.Identification.Product)
	if class == ocsfTunnel {
		o.put("protocol_name", identified(obs))
	}
	if class == ocsfNetwork {
		o["is_src_dst_assignment_known"] = obs.Direction != rules.DirectionUnknown
	}
	if obs.TLS != nil && obs.TLS.JA4 != "" {
		o["ja4_fingerprint_list"] = []object{ocsfJA4(obs.TLS.JA4)}
	}
	return o
}

// ocsfActivityID is what the flow did, in the class's own numbers.
func ocsfActivityID(class int, o *rules.Observation) int {
	through := o.Outcome == rules.OutcomeEstablished || o.Outcome == rules.OutcomeData
	switch {
	case class == ocsfRDP && !through:
		return 1 // Initial Request
	case class == ocsfRDP && o.Closed:
		return 7 // Disconnect
	case class == ocsfRDP:
		return 6 // Traffic
	case class == ocsfTunnel && !through:
		return 99 // Other: no number for a tunnel that did not come up
	case through && o.Closed:
		return 2 // Close, in both that remain
	case class == ocsfTunnel:
		return 1 // Open
	case o.Outcome == rules.OutcomeRefused:
		return 5 // Refuse
	case !through:
		return 4 // Fail
	case o.Outcome == rules.OutcomeData:
		return 6 // Traffic
	}
	return 1 // Open
}
