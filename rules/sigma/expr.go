package sigma

// expr is a node of a compiled rule.
type expr interface {
	eval(ev Event) bool
}

type andExpr []expr

func (e andExpr) eval(ev Event) bool {
	for _, x := range e {
		if !x.eval(ev) {
			return false
		}
	}
	return true
}

type orExpr []expr

func (e orExpr) eval(ev Event) bool {
	for _, x := range e {
		if x.eval(ev) {
			return true
		}
	}
	return false
}

type notExpr struct{ x expr }

func (e notExpr) eval(ev Event) bool { return !e.x.eval(ev) }

// fieldExpr is one key of a map with its values.
type fieldExpr struct {
	field string
	tests []predicate
	all   bool // every test must hold, else one is enough
	neq   bool // negation of the whole: true for a field that is not there, as "not" is
}

func (e *fieldExpr) eval(ev Event) bool {
	v, ok := ev.Field(e.field)
	return (ok && e.holds(ev, v)) != e.neq
}

func (e *fieldExpr) holds(ev Event, v Value) bool {
	for _, t := range e.tests {
		if t.match(ev, v) != e.all {
			return !e.all
		}
	}
	return e.all
}

// nullExpr holds for a field that is not there or is null.
type nullExpr struct {
	field string
	neq   bool
}

func (e *nullExpr) eval(ev Event) bool {
	v, ok := ev.Field(e.field)
	return (!ok || v.Kind == Null) != e.neq
}

type existsExpr struct {
	field string
	want  bool
}

func (e *existsExpr) eval(ev Event) bool {
	_, ok := ev.Field(e.field)
	return ok == e.want
}

// keywordExpr searches one text in the whole event.
type keywordExpr struct{ t predicate }

func (e *keywordExpr) eval(ev Event) bool {
	for s := range ev.Keywords() {
		if e.t.match(ev, TextValue(s)) {
			return true
		}
	}
	return false
}
