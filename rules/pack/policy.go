package pack

import "sallyport/rules"

// Files of a pack that silence findings. They are written like those on a host.
const (
	allowName    = "policies/allow.yaml"
	approvedName = "policies/approved.yaml"
)

// Policies returns the pack's allow-list and approved tools, nil where it has
// none.
func (p *Pack) Policies() (*rules.AllowList, *rules.ApprovedTools, error) {
	var allow *rules.AllowList
	var approved *rules.ApprovedTools
	var err error
	if data, ok := p.files[allowName]; ok {
		if allow, err = rules.ParseAllowList(allowName, data); err != nil {
			return nil, nil, err
		}
	}
	if data, ok := p.files[approvedName]; ok {
		if approved, err = rules.ParseApprovedTools(approvedName, data); err != nil {
			return nil, nil, err
		}
	}
	return allow, approved, nil
}
