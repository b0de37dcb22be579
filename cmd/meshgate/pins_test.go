package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gpio"
)

func TestBoardTable(t *testing.T) {
	b := board{
		Chips: []gpio.Chip{{Label: "pinctrl-bcm2711", Lines: []gpio.Line{
			{Offset: 17, Name: "GPIO17", Pin: "GPIO17", Output: true, Used: true, Consumer: "meshgate"},
			{Offset: 18, Pin: "chip:pinctrl-bcm2711/18", Pull: "up", Used: true},
			{Offset: 19, Name: "GPIO19", Pin: "GPIO19"}}}},
		LEDs: []gpio.LED{{Name: "ACT", Steps: 255, Trigger: "mmc0"}, {Name: "PWR", Steps: 1}},
		PWM:  []gpio.PWMChip{{Name: "fe20c000.pwm", Channels: 2}},
	}
	cfg := &config.Config{
		Outputs: []gpio.Output{{Name: "pump", Pin: "GPIO17"}, {Name: "act", Pin: "led:ACT"}, {Name: "fan", Pin: "pwm:fe20c000.pwm/1"},
			{Name: "trial", Pin: "sim"}, {Name: "lost", Pin: "GPIO99"}, {Name: "all", Group: []string{"pump"}}},
		Inputs: []gpio.Input{{Name: "door", Pin: "chip:pinctrl-bcm2711/18"}, {Name: "byoffset", Pin: "chip:pinctrl-bcm2711/19"}},
	}
	var out bytes.Buffer
	b.print(&out, cfg)
	want := `CHIP             LINE  PIN                      DIRECTION  PULL  USED BY     CONFIGURED AS
pinctrl-bcm2711  17    GPIO17                   out              meshgate    actuator pump
pinctrl-bcm2711  18    chip:pinctrl-bcm2711/18  in         up    the kernel  input door
pinctrl-bcm2711  19    GPIO19                   in                           input byoffset

LED      BRIGHTNESS  SHOWS  CONFIGURED AS
led:ACT  255 steps   mmc0   actuator act
led:PWR  on and off

PWM                 CONFIGURED AS
pwm:fe20c000.pwm/0
pwm:fe20c000.pwm/1  actuator fan

actuator lost: pin GPIO99 is configured, but not here
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
	out.Reset()
	board{}.print(&out, &config.Config{})
	for _, says := range []string{"No GPIO chip", "No LEDs", "No PWM"} {
		if !strings.Contains(out.String(), says) {
			t.Errorf("a machine without any does not say %q:\n%s", says, &out)
		}
	}
}

func TestGPIOAndSafe(t *testing.T) {
	file, _ := site(t, "sim:", 0, "")
	if _, errs, code := meshgate(t, "", "gpio", "--config", file); code != 0 {
		t.Errorf("%d: %s", code, errs)
	}
	if out, _, code := meshgate(t, "", "gpio", "--json"); code != 0 || !strings.Contains(out, `"chips"`) {
		t.Errorf("%d: %s", code, out)
	}
	if _, errs, code := meshgate(t, "", "gpio", "--config", "/none.yaml"); code != 0 || !strings.Contains(errs, "is not known") {
		t.Errorf("%d: %s", code, errs)
	}
	if out, errs, code := meshgate(t, "", "safe", "--config", file); code != 0 || !strings.Contains(out, "outputs are safe") || errs != "" {
		t.Errorf("%d: %s%s", code, out, errs)
	}
	pwm, _ := site(t, "sim:", 0, "  fan: {pin: \"pwm:nowhere/0\", kind: pwm}\n")
	if out, errs, code := meshgate(t, "", "check", "--config", pwm); code != 0 || out != "ok\n" || !strings.Contains(errs, "actuator fan: pin: no such pin: pwm:nowhere/0") {
		t.Errorf("%d: %s%s", code, out, errs)
	}
	bad, _ := site(t, "sim:", 0, "inputs: {}\n")
	bad2, _ := site(t, "sim:", 0, "actuator: {}\n")
	if _, _, code := meshgate(t, "", "safe", "--config", bad); code != 0 {
		t.Errorf("status %d", code)
	}
	if _, errs, code := meshgate(t, "", "safe", "--config", bad2); code != exitUsage || !strings.Contains(errs, "unknown key") {
		t.Errorf("%d: %s", code, errs)
	}
}

// TestOutputsToSave: what the daemon had is made safe with a spoilt configuration too, and with a changed one both are.
func TestOutputsToSave(t *testing.T) {
	state := t.TempDir()
	t.Setenv("STATE_DIRECTORY", state)
	dir := t.TempDir()
	file := filepath.Join(dir, "g.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	had := []gpio.Output{{Name: "pump", Pin: "GPIO17", Safe: true, ActiveLow: true}, {Name: "all", Group: []string{"pump"}}}
	names := func() string {
		outs, err := outputsToSave(file)
		s := ""
		for _, o := range outs {
			s += o.Name + "=" + o.Pin + " "
		}
		return strings.TrimSpace(s + "error:" + strconv.FormatBool(err != nil))
	}
	const good = "managers: [{name: main, port: auto}]\nactuators: {pump: {pin: GPIO18}, fan: {pin: GPIO4}, same: {pin: GPIO17}}\n"
	write(good)
	if got := names(); got != "pump=GPIO18 fan=GPIO4 same=GPIO17 error:false" {
		t.Errorf("before the first run: %s", got)
	}
	for range 2 {
		if err := keepOutputs(state, had); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(); got != "pump=GPIO17 all= pump.configured=GPIO18 fan=GPIO4 error:false" {
		t.Errorf("changed: %s", got)
	}
	write("nonsense")
	if got := names(); got != "pump=GPIO17 all= error:false" {
		t.Errorf("spoilt: %s", got)
	}
	if err := os.WriteFile(filepath.Join(state, outputsFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := names(); got != "error:true" {
		t.Errorf("both spoilt: %s", got)
	}
	write(good)
	if got := names(); got != "pump=GPIO18 fan=GPIO4 same=GPIO17 error:true" {
		t.Errorf("state spoilt: %s", got)
	}
}
