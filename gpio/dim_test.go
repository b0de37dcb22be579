package gpio

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSteps(t *testing.T) {
	for _, steps := range []int{1, 2, 15, 100, 255, 4095, pwmPeriod} {
		last := 0
		for percent := range full + 1 {
			n := toSteps(percent, steps)
			if n < last || n > steps || (n == 0) != (percent == 0) {
				t.Errorf("%d %% of %d steps is %d after %d", percent, steps, n, last)
			}
			back := toPercent(n, steps)
			if (back == 0) != (percent == 0) || steps >= full && back != percent {
				t.Errorf("%d %% of %d steps reads %d %%", percent, steps, back)
			}
			last = n
		}
		if last != steps {
			t.Errorf("100 %% of %d steps is %d", steps, last)
		}
	}
}

func TestBrightness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told told
		sim := NewSim()
		outs := []Output{{Name: "lamp", Pin: "sim", Kind: "pwm", Rate: 2}, {Name: "relay", Pin: "sim"},
			{Name: "sign", Pin: "sim", Kind: "pwm", Safe: true, Lease: 5 * time.Second}}
		b := Open(outs, sim, told.add, nil)
		defer b.Close()
		level := func(name string, c Command, want int) {
			t.Helper()
			r, err := b.Do(name, c)
			if err != nil || r.Brightness != want || r.On != (want > 0) || !r.Dims {
				t.Errorf("%s %+v: %+v, %v", name, c, r, err)
			}
		}
		level("lamp", Command{Action: On, Brightness: 40}, 40)
		level("lamp", Command{Action: On, Brightness: 7}, 7) // no change that Rate counts
		level("lamp", Command{Action: On, Brightness: 99}, 99)
		level("lamp", Command{Action: On}, 100)
		level("lamp", Command{Action: On, Brightness: 30, For: time.Second}, 30)
		time.Sleep(2 * time.Second)
		if r := b.Get("lamp"); r.On || r.Brightness != 0 {
			t.Errorf("for is over: %+v", r)
		}
		level("sign", Command{Action: On, Brightness: 10}, 10) // away from its safe state, which is all of it
		time.Sleep(6 * time.Second)
		if r := b.Get("sign"); r.Brightness != 100 {
			t.Errorf("the lease is over: %+v", r)
		}
		_, err := b.Do("relay", Command{Action: On, Brightness: 50})
		wantRule(t, err, "command")
		if r, err := b.Do("relay", Command{Action: On, Brightness: 100}); err != nil || r.Dims {
			t.Errorf("%+v, %v", r, err)
		}
		for _, c := range []Command{{Action: On, Brightness: 101}, {Action: On, Brightness: -1}, {Action: Off, Brightness: 5}} {
			_, err := b.Do("lamp", c)
			wantRule(t, err, "command")
		}
		synctest.Wait()
		if n := strings.Count(told.take(), "lamp"); n != 7 {
			t.Errorf("%d readings of the lamp, want one for each new brightness", n)
		}
	})
}

// TestBrightnessBlinks: a pattern has the brightness that was asked for, and the next command has not.
func TestBrightnessBlinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := Open([]Output{{Name: "lamp", Pin: "sim", Kind: "pwm"}}, NewSim(), nil, nil)
		defer b.Close()
		if _, err := b.Do("lamp", Command{Action: On, Brightness: 20, Blink: []time.Duration{time.Second}}); err != nil {
			t.Fatal(err)
		}
		for i, want := range []int{20, 0, 20, 0, 20} {
			if r := b.Get("lamp"); r.Brightness != want {
				t.Errorf("phase %d: %+v", i, r)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		mustSet(t, b, "lamp", true)
		if r := b.Get("lamp"); r.Brightness != 100 {
			t.Errorf("%+v", r)
		}
	})
}

func TestLEDBrightness(t *testing.T) {
	root := ledTree(t, "x", map[string]string{"brightness": "0", "max_brightness": "15"})
	p, err := (&Hardware{LEDs: root}).OpenOutput(Output{Pin: "led:x", Kind: "pwm", ActiveLow: true})
	if err != nil {
		t.Fatal(err)
	}
	if level, err := setAndRead(p, true, 41); err != nil || level != 40 || ledFile(t, root, "x", "brightness") != "9" {
		t.Errorf("%d, %v, brightness %s", level, err, ledFile(t, root, "x", "brightness"))
	}
	one := ledTree(t, "x", map[string]string{"brightness": "0", "max_brightness": "1"})
	b := Open([]Output{{Name: "x", Pin: "led:x", Kind: "pwm"}}, &Hardware{LEDs: one}, nil, nil)
	defer b.Close()
	if r := b.Get("x"); r.Known || !errors.Is(r.Err, ErrNoPin) || !strings.Contains(r.Err.Error(), "only switches") {
		t.Errorf("%+v", r)
	}
}

// pwmTree makes a folder like /sys/class/pwm with one chip of two channels, of which the first is exported.
func pwmTree(t *testing.T, period string) (root, channel string) {
	t.Helper()
	root = t.TempDir()
	chip := filepath.Join(root, "pwmchip3")
	channel = filepath.Join(chip, "pwm0")
	if err := os.MkdirAll(channel, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../../fe20c000.pwm", filepath.Join(chip, "device")); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"npwm": "2\n", "export": "", "pwm0/period": period, "pwm0/duty_cycle": "5\n", "pwm0/enable": "0\n"} {
		if err := os.WriteFile(filepath.Join(chip, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root, channel
}

func TestPWM(t *testing.T) {
	root, channel := pwmTree(t, "0\n")
	b := Open([]Output{{Name: "fan", Pin: "pwm:fe20c000.pwm/0", Kind: "pwm"}}, &Hardware{PWM: root}, nil, nil)
	wave := func(when, want string) {
		t.Helper()
		var got []string
		for _, file := range []string{"period", "duty_cycle", "enable"} {
			b, err := os.ReadFile(filepath.Join(channel, file))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, strings.TrimSpace(string(b)))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: %s, want %s", when, s, want)
		}
	}
	wave("open", "1000000 0 1")
	if r, err := b.Do("fan", Command{Action: On, Brightness: 25}); err != nil || r.Brightness != 25 {
		t.Errorf("%+v, %v", r, err)
	}
	wave("dimmed", "1000000 250000 1")
	if err := writeFile(filepath.Join(channel, "duty_cycle"), "900000"); err != nil {
		t.Fatal(err)
	}
	b.Refresh()
	wave("set right", "1000000 250000 1")
	if err := writeFile(filepath.Join(channel, "enable"), "0"); err != nil {
		t.Fatal(err)
	}
	b.Refresh()
	if r := b.Get("fan"); r.Known || !strings.Contains(r.Err.Error(), "somebody else uses the channel") {
		t.Errorf("%+v", r)
	}
	_ = b.Close()
	if p, err := openPWM(root, "fe20c000.pwm", 0, Output{Safe: true, ActiveLow: true}); err != nil {
		t.Error(err)
	} else if level, err := p.Level(); err != nil || level != full {
		t.Errorf("%d, %v", level, err)
	}
	wave("active low, safe on", "1000000 0 1")
}

func TestPWMRefused(t *testing.T) {
	root, _ := pwmTree(t, "7")
	for pin, says := range map[string]string{
		"pwm:pwmchip3/0":     "no PWM chip has that name, there is fe20c000.pwm",
		"pwm:fe20c000.pwm/2": "the chip has 2 channels",
		"pwm:fe20c000.pwm/1": "pwm1", // exported, but the kernel of this test makes no folder
	} {
		p, err := (&Hardware{PWM: root}).OpenOutput(Output{Pin: pin})
		if p != nil || err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, %v", pin, p, err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(root, "pwmchip3", "export")); err != nil || string(b) != "1" {
		t.Errorf("export got %q, %v", b, err)
	}
	if _, err := (&Hardware{PWM: t.TempDir()}).OpenOutput(Output{Pin: "pwm:x/0"}); !errors.Is(err, ErrNoPin) || !strings.Contains(err.Error(), "no PWM chip") {
		t.Error(err)
	}
	if err := pwmError("pwm:x/0", &fs.PathError{Err: fs.ErrPermission}); !errors.Is(err, ErrPermission) {
		t.Error(err)
	}
}

func TestMissing(t *testing.T) {
	root, _ := pwmTree(t, "0")
	leds := ledTree(t, "one", map[string]string{"max_brightness": "1"})
	var got []string
	for _, p := range missingIn(root, leds, []Output{{Name: "a", Pin: "pwm:fe20c000.pwm/1"}, {Name: "b", Pin: "pwm:fe20c000.pwm/2"},
		{Name: "c", Pin: "led:one", Kind: "pwm"}, {Name: "d", Pin: "led:one"}, {Name: "e", Pin: "GPIO1"}, {Name: "f", Group: []string{"a"}}}) {
		got = append(got, p.String())
	}
	want := "b: pin: no such pin: pwm:fe20c000.pwm/2: the chip has 2 channels, counted from 0\nc: kind: led:one only switches on and off, it has no brightness"
	if s := strings.Join(got, "\n"); s != want {
		t.Errorf("got %s\nwant %s", s, want)
	}
}

func TestListings(t *testing.T) {
	root := ledTree(t, "ACT", map[string]string{"max_brightness": "255\n", "trigger": "none [mmc0] timer\n"})
	if err := os.Mkdir(filepath.Join(root, "PWR"), 0o755); err != nil {
		t.Fatal(err)
	}
	if all := ledsIn(root); len(all) != 2 || all[0] != (LED{"ACT", 255, "mmc0"}) || all[1] != (LED{Name: "PWR"}) {
		t.Errorf("%+v", all)
	}
	if all := ledsIn(filepath.Join(root, "none")); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	chips, _ := pwmTree(t, "0")
	if all := pwmChipsIn(chips); len(all) != 1 || all[0].Name != "fe20c000.pwm" || all[0].Channels != 2 {
		t.Errorf("%+v", all)
	}
}
