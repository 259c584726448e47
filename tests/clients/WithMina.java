// A client with Apache MINA SSHD: java -cp … WithMina.java PORT KEY local|remote ECHO_PORT
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import org.apache.sshd.client.SshClient;
import org.apache.sshd.client.channel.ChannelDirectTcpip;
import org.apache.sshd.client.keyverifier.AcceptAllServerKeyVerifier;
import org.apache.sshd.client.session.ClientSession;
import org.apache.sshd.common.SshException;
import org.apache.sshd.common.keyprovider.FileKeyPairProvider;
import org.apache.sshd.common.util.net.SshdSocketAddress;
import org.apache.sshd.server.forward.AcceptAllForwardingFilter;

public class WithMina {
    static final Duration LIMIT = Duration.ofSeconds(30);

    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(arguments[0]);
        byte[] data = new byte[100000];
        for (int at = 0; at < data.length; at++) {
            data[at] = (byte) (at % 251);
        }
        SshdSocketAddress echo = new SshdSocketAddress("127.0.0.1", Integer.parseInt(arguments[3]));
        SshdSocketAddress any = new SshdSocketAddress("127.0.0.1", 0);
        SshClient client = SshClient.setUpDefaultClient();
        client.setServerKeyVerifier(AcceptAllServerKeyVerifier.INSTANCE);
        client.setForwardingFilter(AcceptAllForwardingFilter.INSTANCE);
        client.setKeyIdentityProvider(new FileKeyPairProvider(Path.of(arguments[1])));
        client.start();
        try {
            ClientSession session = client.connect("alice", "127.0.0.1", port).verify(LIMIT).getSession();
            session.auth().verify(LIMIT);
            if (arguments[2].equals("remote")) {
                System.out.println("listening " + session.startRemotePortForwarding(any, echo).getPort());
                // The caller ends this program when it has heard everything.
                Thread.currentThread().join();
            }
            ChannelDirectTcpip channel = session.createDirectTcpipChannel(any, echo);
            channel.open().verify(LIMIT);
            try (OutputStream to = channel.getInvertedIn(); InputStream from = channel.getInvertedOut()) {
                to.write(data);
                to.flush();
                byte[] heard = from.readNBytes(data.length);
                if (!Arrays.equals(heard, data)) {
                    throw new SshException(heard.length + " bytes came back, not those that were sent");
                }
            }
        } catch (SshException error) {
            System.err.println(error.getMessage());
            System.exit(1);
        }
        client.stop();
        System.exit(0);
    }
}
