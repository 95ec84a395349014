package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"sallyport/collector/store"
)

func (v *verifier) decisions(ctx context.Context) error {
	for after := int64(0); ; {
		list, err := v.Store.DecisionsAfter(ctx, after, page)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, d := range list {
			after = d.Key
			if err := v.look(ctx, &v.out.Decisions, func(ctx context.Context) (string, error) { return v.decision(ctx, d) }); err != nil {
				return err
			}
		}
	}
}

func (v *verifier) decision(ctx context.Context, d store.Decision) (string, error) {
	where := fmt.Sprintf("decision %d on finding %s of %s", d.Key, d.ID, d.Agent)
	text, err := json.Marshal(d)
	if err != nil {
		return "", err
	}
	got, err := v.recorded(ctx, KindDecision, d.Agent, d.ID, uint64(d.Key))
	switch {
	case errors.Is(err, errRemoved):
		return "", nil
	case errors.Is(err, store.ErrNotFound):
		return where + ": it is not in the record", nil
	case err == nil && !same(got.Body, text):
		return where + ": it is not what was recorded", nil
	}
	return "", err
}
