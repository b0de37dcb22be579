package config

import (
	"math"
	"path/filepath"
	"time"
)

// never is the upper bound of durations that have no natural one: ten years.
const never = 87600 * time.Hour

// config reads the whole file.
func (d *decoder) config(root value) *Config {
	o := root.object("version", "id", "state_dir", "managers", "actuators", "inputs", "automations", "local",
		"bridges", "spool", "http", "log")
	if !o.ok {
		return nil
	}
	switch n := o.number("version", d.form.version, 1, math.MaxInt32); {
	case n < d.form.version && d.older == 0:
		o.at["version"].fail("write the version as a plain number, so that the file can be migrated")
		return nil
	case n > d.form.version:
		d.errs, d.mistakes = nil, 0 // what else is in the file cannot be judged here
		o.at["version"].fail("version %d is for a later meshgate; this one reads version %d", n, d.form.version)
		return nil
	}
	c := &Config{ID: d.id(o), StateDir: o.file("state_dir")}
	if c.StateDir == "" {
		c.StateDir = d.host.stateDir()
	}
	o.need("managers", "(one or more)")
	if v, ok := o.get("managers"); ok {
		c.Managers = d.managers(v)
	}
	c.Outputs, c.Inputs = d.pins(o)
	c.Automations = d.automations(o, c.Outputs, c.Inputs)
	c.Local = d.local(o, c.ID)
	if v, ok := o.get("bridges"); ok {
		c.Bridges = d.bridges(v, c.ID)
	}
	c.Spool = d.spool(o)
	c.HTTP = d.http(o)
	c.Log.Level = d.section(o, "log", "level").oneOf("level", "info", "debug", "info", "warn", "error")
	d.clashes(c)
	return c
}

// id returns the key id, or one derived from the machine.
func (d *decoder) id(o object) string {
	if _, there := o.at["id"]; there {
		return o.name("id")
	}
	id, err := d.host.id()
	if err != nil {
		o.fail(`missing key "id": %v`, err)
	}
	return id
}

// section returns the mapping under a key, an empty one when it is not there.
func (d *decoder) section(o object, key string, known ...string) object {
	v, ok := o.get(key)
	if !ok {
		return object{value: value{d: d}}
	}
	return v.object(known...)
}

var defaultSpool = Spool{MaxSize: 256 << 20, WhenFull: DropOldest}

func (d *decoder) spool(o object) Spool {
	s := d.section(o, "spool", "max_size", "max_age", "when_full", "sync")
	return Spool{
		MaxSize:  s.size("max_size", defaultSpool.MaxSize, 64<<10, 1<<40),
		MaxAge:   s.duration("max_age", defaultSpool.MaxAge, 0, never),
		WhenFull: s.oneOf("when_full", defaultSpool.WhenFull, DropOldest, DropNewest),
		Sync:     s.duration("sync", defaultSpool.Sync, 0, time.Minute),
	}
}

func (d *decoder) http(o object) HTTP {
	s := d.section(o, "http", "listen", "users")
	h := HTTP{Listen: s.listen("listen", "8080"), Users: s.readable("users")}
	if o.has("http") && h.Listen == "" && s.ok {
		s.need("listen", "")
	}
	s.needUsers(h.Listen, h.Users)
	return h
}

// managers reads the list of managers.
func (d *decoder) managers(v value) (all []Manager) {
	before := d.mistakes
	list := v.list("a list of managers, each with name and port")
	if len(list) == 0 && d.mistakes == before {
		v.fail("expected one manager or more, found none")
	}
	names, ports, records := unique{}, unique{}, unique{}
	for _, e := range list {
		o := e.object("name", "port", "data", "temperature", "allow", "share", "record")
		m := Manager{
			Name:   o.name("name"),
			Port:   d.port(o),
			Data:   o.oneOf("data", DataReliable, DataReliable, DataUnacknowledged),
			Share:  d.share(o),
			Record: o.file("record"),
		}
		o.need("name", "")
		names.add(o, "name", m.Name, "manager")
		if schemeOf(m.Port) != "sim" {
			ports.add(o, "port", m.Port, "port")
		}
		records.add(o, "record", m.Record, "recording")
		t := d.section(o, "temperature", "every")
		m.Temperature = t.rate("every")
		if o.has("temperature") {
			t.need("every", "")
		}
		m.Allow = d.allow(o)
		all = append(all, m)
	}
	return all
}

// rate reads the report rate of a mote: whole milliseconds (oap.Command PUT, field rate u32).
func (o object) rate(key string) time.Duration {
	every := o.duration(key, 0, 100*time.Millisecond, 24*time.Hour)
	if every%time.Millisecond != 0 {
		o.at[key].fail("%s: a mote counts in whole milliseconds", every)
		return 0
	}
	return every
}

// judged reports whether nobody who knows of such values says that this one is wrong.
func (v value) judged(of, text string) bool {
	for _, j := range v.d.judges {
		if j.Of == of {
			if err := j.Wrong(text); err != nil {
				v.fail("%v", err)
				return false
			}
		}
	}
	return true
}

// allow reads the names of API commands. Which of them there are is the manager's language,
// which may have a judge here; a name that it does not have allows nothing.
func (d *decoder) allow(o object) []string {
	names, at := o.texts("allow", "API commands such as setNetworkConfig")
	for i, name := range names {
		if !camelCase.MatchString(name) {
			at[i].fail("expected the name of an API command such as setNetworkConfig, found %q", clip(name))
			continue
		}
		at[i].judged("allow", name)
	}
	return names
}

func (d *decoder) share(o object) *Share {
	if !o.has("share") {
		return nil
	}
	s := d.section(o, "share", "listen", "users", "write")
	s.need("listen", "such as 127.0.0.1:9900")
	share := Share{Listen: s.listen("listen", "9900"), Users: s.readable("users"), Write: s.flag("write", false)}
	s.needUsers(share.Listen, share.Users)
	return &share
}

// unique remembers what may be there only once, and the line of the first.
type unique map[string]int

// add notes that the value of a key, a thing of some kind, was there before.
func (u unique) add(o object, key, s, kind string) {
	v, there := o.at[key]
	if !there || s == "" {
		return
	}
	if line, twice := u[s]; twice {
		v.fail("%s %q is here twice, first in line %d", kind, clip(s), line)
		return
	}
	u[s] = v.node.Line
}

// abs returns a path that starts from the folder of the file.
func (d *decoder) abs(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(d.dir, path)
}
