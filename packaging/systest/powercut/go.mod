module github.com/meshgate/meshgate/packaging/systest/powercut

go 1.25

require github.com/hanwen/go-fuse/v2 v2.12.1

require golang.org/x/sys v0.28.0 // indirect
