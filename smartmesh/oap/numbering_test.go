package oap

import "testing"

func TestNumberingEchoes(t *testing.T) {
	var n Numbering
	first := Request{Command: Put, Sequence: n.Next()}
	if !n.Answers(Response{Command: Put, Sequence: first.Sequence}, first) {
		t.Fatal("its own number was refused")
	}
	second := Request{Command: Put, Sequence: n.Next()}
	if second.Sequence == first.Sequence {
		t.Fatal("two requests of one number")
	}
	for _, late := range []Response{
		{Command: Put, Sequence: first.Sequence},  // the answer to a repeat of the first
		{Command: Put, Sequence: 0},               // this mote has shown that it gives numbers back
		{Command: Get, Sequence: second.Sequence}, // another command
	} {
		if n.Answers(late, second) {
			t.Errorf("%+v was taken for the answer to %+v", late, second)
		}
	}
	if !n.Answers(Response{Command: Put, Sequence: second.Sequence, Result: InvValue}, second) {
		t.Error("the answer was refused")
	}
}

func TestNumberingWraps(t *testing.T) {
	var n Numbering
	for i := range 40 {
		if got, want := n.Next(), uint8(i%15+1); got != want {
			t.Fatalf("request %d to a mote not known: got %d, want %d", i, got, want)
		}
	}
	n = Numbering{}
	for i := range 40 {
		req := Request{Command: Get, Sequence: n.Next()}
		if want := uint8((i + 1) % 16); req.Sequence != want {
			t.Fatalf("request %d: got %d, want %d", i, req.Sequence, want)
		}
		if !n.Answers(Response{Command: Get, Sequence: req.Sequence}, req) {
			t.Fatalf("request %d: answer refused", i)
		}
	}
}

func TestNumberingZero(t *testing.T) {
	var n Numbering
	req := Request{Command: Get, Sequence: n.Next()}
	if n.Answers(Response{Command: Get, Sequence: 7}, req) {
		t.Error("7 is no answer")
	}
	if !n.Answers(Response{Command: Get, Sequence: 0}, req) {
		t.Fatal("a mote that always answers with 0 was refused")
	}
	req = Request{Command: Put, Sequence: n.Next()}
	if req.Sequence != 0 {
		t.Errorf("such a mote is to get 0, got %d", req.Sequence)
	}
	if !n.Answers(Response{Command: Put, Sequence: 0}, req) {
		t.Error("the next answer was refused")
	}
	if n.Next() != 0 {
		t.Error("0 was not kept")
	}
}
