// A client with JSch: java -cp jsch.jar WithJsch.java PORT KEY local|remote ECHO_PORT
import com.jcraft.jsch.Channel;
import com.jcraft.jsch.JSch;
import com.jcraft.jsch.JSchException;
import com.jcraft.jsch.Session;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.Arrays;

public class WithJsch {
    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(arguments[0]);
        int echo = Integer.parseInt(arguments[3]);
        byte[] data = new byte[100000];
        for (int at = 0; at < data.length; at++) {
            data[at] = (byte) (at % 251);
        }
        try {
            JSch jsch = new JSch();
            jsch.addIdentity(arguments[1]);
            Session session = jsch.getSession("alice", "127.0.0.1", port);
            session.setConfig("StrictHostKeyChecking", "no");
            session.setConfig("PreferredAuthentications", "publickey");
            session.connect();
            if (arguments[2].equals("remote")) {
                System.out.println("listening " + session.setPortForwardingR("127.0.0.1:0:127.0.0.1:" + echo));
                // The caller ends this program when it has heard everything.
                Thread.currentThread().join();
            }
            Channel channel = session.getStreamForwarder("127.0.0.1", echo);
            InputStream from = channel.getInputStream();
            OutputStream to = channel.getOutputStream();
            channel.connect();
            to.write(data);
            to.flush();
            byte[] heard = from.readNBytes(data.length);
            if (!Arrays.equals(heard, data)) {
                throw new JSchException(heard.length + " bytes came back, not those that were sent");
            }
            channel.disconnect();
            session.disconnect();
        } catch (JSchException error) {
            System.err.println(error.getMessage());
            System.exit(1);
        }
    }
}
