package sim

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxMotes is more than a manager of this kind takes.
const maxMotes = 1000

// parameter is one NAME=VALUE of a sim: URL.
type parameter struct {
	name string
	set  func(*Config, string) error
}

// parameters are all that ParseURL takes.
func parameters() []parameter {
	return []parameter{
		{"motes", whole(func(c *Config) *int { return &c.Motes }, maxMotes)},
		{"period", duration(func(c *Config) *time.Duration { return &c.Period }, minRate)},
		{"seed", func(c *Config, s string) (err error) {
			c.Seed, err = strconv.ParseInt(s, 10, 64)
			return err
		}},
		{"health", duration(func(c *Config) *time.Duration { return &c.HealthPeriod }, time.Second)},
		{"latency", duration(func(c *Config) *time.Duration { return &c.Latency }, 0)},
		{"count", whole(func(c *Config) *int { return &c.Count }, 1<<30)},
		{"numbered", func(c *Config, s string) (err error) {
			c.Numbered, err = strconv.ParseBool(s)
			return err
		}},
		{"noise", rate(func(f *Faults) *float64 { return &f.Noise })},
		{"corrupt", rate(func(f *Faults) *float64 { return &f.Corrupt })},
		{"lostrequest", rate(func(f *Faults) *float64 { return &f.LostRequest })},
		{"lostresponse", rate(func(f *Faults) *float64 { return &f.LostResponse })},
		{"lostack", rate(func(f *Faults) *float64 { return &f.LostAck })},
		{"duplicate", rate(func(f *Faults) *float64 { return &f.Duplicate })},
		{"gap", rate(func(f *Faults) *float64 { return &f.Gap })},
		{"delay", duration(func(c *Config) *time.Duration { return &c.Faults.Delay }, 0)},
		{"oaplost", rate(func(f *Faults) *float64 { return &f.OAPLost })},
		{"oapwrong", rate(func(f *Faults) *float64 { return &f.OAPWrong })},
		{"oapdelay", duration(func(c *Config) *time.Duration { return &c.Faults.OAPDelay }, 0)},
		{"samplelost", rate(func(f *Faults) *float64 { return &f.SampleLost })},
		{"nack", rate(func(f *Faults) *float64 { return &f.Nack })},
		{"drift", func(c *Config, s string) (err error) {
			c.Faults.Drift, err = number(s, -1000, 1000)
			return err
		}},
		{"clockjump", duration(func(c *Config) *time.Duration { return &c.Faults.ClockJump }, -24*time.Hour)},
		{"silence", duration(func(c *Config) *time.Duration { return &c.Faults.Silence }, 0)},
		{"reboot", duration(func(c *Config) *time.Duration { return &c.Faults.Reboot }, 10*time.Second)},
	}
}

// ParseURL reads "sim:" or "sim:?motes=5&period=2s&seed=1". Without motes there are 5. An unknown or repeated parameter
// is an error, as is a value out of range.
func ParseURL(s string) (Config, error) {
	cfg := Config{Motes: 5}
	rest, ok := strings.CutPrefix(s, "sim:")
	if !ok {
		return Config{}, fmt.Errorf("sim: %q does not begin with \"sim:\"", s)
	}
	query, ok := strings.CutPrefix(rest, "?")
	if !ok && rest != "" {
		return Config{}, fmt.Errorf("sim: want sim:?NAME=VALUE&..., not %q", s)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return Config{}, fmt.Errorf("sim: %w", err)
	}
	known := parameters()
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		i := slices.IndexFunc(known, func(p parameter) bool { return p.name == name })
		if i < 0 {
			return Config{}, fmt.Errorf("sim: unknown parameter %q; known are %s", name, knownNames(known))
		}
		if len(values[name]) != 1 {
			return Config{}, fmt.Errorf("sim: parameter %q is given %d times", name, len(values[name]))
		}
		if err := known[i].set(&cfg, values[name][0]); err != nil {
			return Config{}, fmt.Errorf("sim: %s=%s: %w", name, values[name][0], err)
		}
	}
	return cfg, nil
}

func knownNames(known []parameter) string {
	var names []string
	for _, p := range known {
		names = append(names, p.name)
	}
	return strings.Join(names, ", ")
}

func whole(field func(*Config) *int, most int) func(*Config, string) error {
	return func(c *Config, s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > most {
			return fmt.Errorf("want a whole number from 0 to %d", most)
		}
		*field(c) = n
		return nil
	}
}

func duration(field func(*Config) *time.Duration, least time.Duration) func(*Config, string) error {
	return func(c *Config, s string) error {
		d, err := time.ParseDuration(s)
		if err != nil || d < least {
			return fmt.Errorf("want a duration such as 2s, at least %v", least)
		}
		*field(c) = d
		return nil
	}
}

func rate(field func(*Faults) *float64) func(*Config, string) error {
	return func(c *Config, s string) (err error) {
		*field(&c.Faults), err = number(s, 0, 1)
		return err
	}
}

func number(s string, least, most float64) (float64, error) {
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || !(x >= least && x <= most) {
		return 0, fmt.Errorf("want a number from %g to %g", least, most)
	}
	return x, nil
}
