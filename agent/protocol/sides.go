package protocol

// sidesAgree is the state that what each side proves amounts to.
func sidesAgree(client, server bool) State {
	switch {
	case client && server:
		return Confirmed
	case client || server:
		return Suspected
	}
	return NeedMore
}

// full says that no more datagrams of the flow will be shown.
func full(f *Flow) bool {
	return f.Closed || len(f.Client.Datagrams) >= MaxDatagrams && len(f.Server.Datagrams) >= MaxDatagrams
}

// undecided is the answer of a detector that has found nothing yet: it waits as
// long as more may come.
func undecided(f *Flow) Result {
	if full(f) {
		return Result{State: NotThis}
	}
	return Result{State: NeedMore}
}
