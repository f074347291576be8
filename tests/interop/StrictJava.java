import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;

/** HTTP/1.1 servers over TLS 1.2 as Java programs have them: java StrictJava.java KEYSTORE PORT... The pass phrase is changeit. */
public class StrictJava {
    public static void main(String[] arguments) throws Exception {
        char[] phrase = "changeit".toCharArray();
        KeyStore keys = KeyStore.getInstance("PKCS12");
        try (FileInputStream file = new FileInputStream(arguments[0])) {
            keys.load(file, phrase);
        }
        KeyManagerFactory factory = KeyManagerFactory.getInstance("SunX509");
        factory.init(keys, phrase);
        ExecutorService threads = Executors.newCachedThreadPool();
        for (int at = 1; at < arguments.length; at++) {
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(factory.getKeyManagers(), null, null);
            SSLServerSocket listening =
                (SSLServerSocket) context.getServerSocketFactory().createServerSocket(Integer.parseInt(arguments[at]), 1024);
            listening.setEnabledProtocols(new String[] {"TLSv1.2"});
            threads.execute(() -> accept(listening, threads));
        }
    }

    private static void accept(SSLServerSocket listening, ExecutorService threads) {
        while (true) {
            try {
                SSLSocket connection = (SSLSocket) listening.accept();
                threads.execute(() -> serve(connection));
            } catch (java.io.IOException error) {
                return;
            }
        }
    }

    private static void serve(SSLSocket connection) {
        byte[] answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".getBytes(StandardCharsets.US_ASCII);
        try (connection) {
            connection.setTcpNoDelay(true);
            BufferedReader lines =
                new BufferedReader(new InputStreamReader(connection.getInputStream(), StandardCharsets.ISO_8859_1));
            OutputStream out = connection.getOutputStream();
            String line;
            boolean inHead = false;
            while ((line = lines.readLine()) != null) {
                inHead |= !line.isEmpty();
                if (line.isEmpty() && inHead) {
                    inHead = false;
                    out.write(answer);
                    out.flush();
                }
            }
        } catch (java.io.IOException error) {
            // A connection that ended without close_notify: Java has dropped its session.
        }
    }
}
