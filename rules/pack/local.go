package pack

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"sallyport/rules"
)

// ErrLocalChanges is a local pack that touches what the vendor's holds.
var ErrLocalChanges = errors.New("a local pack may add, but not change what the vendor's pack holds")

// CheckLocal refuses a local pack that has the vendor's very name, or a detection
// under a file name or an id of the vendor's. Indicators of its own for an entity
// of the vendor's are an addition: what names, designations and owners a local
// pack gives such an entity is not compiled where the vendor's comes first
// (rules.Builder.Entity).
func CheckLocal(vendor, local *Pack) error {
	if vendor.Manifest.Name == local.Manifest.Name {
		return fmt.Errorf("%w: both are named %q", ErrLocalChanges, vendor.Manifest.Name)
	}
	for name := range local.files {
		if _, both := vendor.files[name]; both && strings.HasPrefix(name, "detections/") {
			return fmt.Errorf("%w: %s is in both", ErrLocalChanges, name)
		}
	}
	theirs, err := vendor.Detections(nil)
	if err != nil {
		return err
	}
	ours, err := local.Detections(nil)
	if err != nil {
		return err
	}
	for _, r := range ours {
		if slices.ContainsFunc(theirs, func(o *rules.SigmaRule) bool { return o.ID == r.ID }) {
			return fmt.Errorf("%w: detection %s is in both", ErrLocalChanges, r.ID)
		}
	}
	return nil
}
