// A client with golang.org/x/crypto/ssh: with_crypto PORT KEY local|remote ECHO_PORT
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
)

func main() {
	port, keyFile, how, echo := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	data := make([]byte, 100000)
	for at := range data {
		data[at] = byte(at % 251)
	}
	key, err := os.ReadFile(keyFile)
	check(err)
	signer, err := ssh.ParsePrivateKey(key)
	check(err)
	client, err := ssh.Dial("tcp", "127.0.0.1:"+port, &ssh.ClientConfig{
		User:            "alice",
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	check(err)
	if how == "remote" {
		listener, err := client.Listen("tcp", "127.0.0.1:0")
		check(err)
		fmt.Println("listening", listener.Addr().(*net.TCPAddr).Port)
		connection, err := listener.Accept()
		check(err)
		_, err = io.Copy(connection, connection)
		check(err)
		check(connection.Close())
		return
	}
	connection, err := client.Dial("tcp", "127.0.0.1:"+echo)
	check(err)
	go func() {
		_, err := connection.Write(data)
		check(err)
		check(connection.(interface{ CloseWrite() error }).CloseWrite())
	}()
	heard, err := io.ReadAll(connection)
	check(err)
	if !bytes.Equal(heard, data) {
		check(fmt.Errorf("%d bytes came back, not those that were sent", len(heard)))
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
