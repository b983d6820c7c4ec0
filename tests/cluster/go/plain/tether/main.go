// Command tether runs another command that must not outlive whoever started it, however that one ends.
//
// It holds on to two ends: its standard input is a pipe whose other end only the starter has, so the kernel closes it
// when the starter is gone, kill -9 included; and the command gets SIGKILL from the kernel when tether itself is gone.
// The first line on standard output is the command's process id.
package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: tether COMMAND ARGUMENT...")
	}
	runtime.LockOSThread() // the kernel looks at the thread that started the command, so this one must stay
	command := exec.Command(os.Args[1], os.Args[2:]...)
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := command.Start(); err != nil {
		log.Fatal("tether: ", err)
	}
	fmt.Println(command.Process.Pid)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) // the group: a stopped process dies of it too
	}()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	go func() {
		for received := range signals {
			_ = command.Process.Signal(received)
		}
	}()
	var failed *exec.ExitError
	if err := command.Wait(); errors.As(err, &failed) {
		os.Exit(max(failed.ExitCode(), 1))
	} else if err != nil {
		log.Fatal("tether: ", err)
	}
}
