// A client with x/crypto/ssh, for late-readers: sends through many tunnels to an echo, and compares what comes back.
//
//	late-reader PORT USER KEY TARGET_PORT TUNNELS BYTES
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"
)

func main() {
	tunnels, err := strconv.Atoi(os.Args[5])
	check(err)
	size, err := strconv.Atoi(os.Args[6])
	check(err)
	key, err := os.ReadFile(os.Args[3])
	check(err)
	signer, err := ssh.ParsePrivateKey(key)
	check(err)
	config := &ssh.ClientConfig{
		User:            os.Args[2],
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	}
	client, err := ssh.Dial("tcp", "127.0.0.1:"+os.Args[1], config)
	check(err)
	connections := make([]net.Conn, tunnels)
	for number := range connections {
		connections[number], err = client.Dial("tcp", "127.0.0.1:"+os.Args[4])
		check(err)
	}
	var all sync.WaitGroup
	for number, connection := range connections {
		all.Add(1)
		go func(number int, connection net.Conn) {
			defer all.Done()
			echo(number, size, connection)
		}(number, connection)
	}
	all.Wait()
	fmt.Println("all came back")
}

func echo(number, size int, connection net.Conn) {
	said := make([]byte, size)
	for place := range said {
		said[place] = byte(place*7 + place>>8 + number)
	}
	go func() {
		_, err := connection.Write(append([]byte("m"), said...))
		check(err)
	}()
	heard := make([]byte, size)
	_, err := io.ReadFull(connection, heard)
	check(err)
	if !bytes.Equal(heard, said) {
		check(fmt.Errorf("tunnel %d echoed something else", number))
	}
	connection.Close()
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
