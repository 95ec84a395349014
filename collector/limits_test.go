package collector

import (
	"reflect"
	"strings"
	"testing"
)

// numbers lists the settings of the configuration that are a number or a time.
func numbers(v reflect.Value, prefix string) []string {
	var out []string
	for i := range v.NumField() {
		name := prefix + v.Type().Field(i).Tag.Get("yaml")
		switch f := v.Field(i); f.Kind() {
		case reflect.Struct:
			out = append(out, numbers(f, name+".")...)
		case reflect.Int, reflect.Int64, reflect.Float64, reflect.Uint64:
			out = append(out, name)
		}
	}
	return out
}

func TestEveryLimitIsShown(t *testing.T) {
	cfg, _ := withFile(t, testConfig(t))
	shown := map[string]string{}
	for _, b := range cfg.Limits() {
		if b.Value == "" || b.What == "" || shown[b.Name] != "" {
			t.Errorf("limit %+v", b)
		}
		shown[b.Name] = b.Value
	}
	all := numbers(reflect.ValueOf(cfg), "")
	if len(all) < 30 {
		t.Fatalf("%d settings found", len(all))
	}
	for _, name := range all {
		if shown[name] == "" {
			t.Errorf("%s is a bound, and is not shown", name)
		}
	}
	for name, want := range map[string]string{"account.sign_ins_per_minute": "100 a minute", "ingest.max_line": "6291456 bytes", "api.stream_life": "10m0s", "exporters.file.timeout": "1m0s"} {
		if shown[name] != want {
			t.Errorf("%s: %q, want %q", name, shown[name], want)
		}
	}
	if !strings.Contains(strings.Join(all, " "), "reports.keep") {
		t.Error("reports are not configured")
	}
}
