// A Java client: java Client.java PROTOCOL NAME PORT [TRUSTED.pem]. Prints what the server answers; nothing when it is not let in.
import java.io.FileInputStream;
import java.net.InetAddress;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

public class Client {
    public static void main(String[] words) throws Exception {
        String protocol = words[0];
        java.security.Security.setProperty("jdk.tls.disabledAlgorithms", "NULL");
        KeyStore trusted = null;
        if (words.length > 3) {
            trusted = KeyStore.getInstance(KeyStore.getDefaultType());
            trusted.load(null, null);
            CertificateFactory factory = CertificateFactory.getInstance("X.509");
            trusted.setCertificateEntry("ca", factory.generateCertificate(new FileInputStream(words[3])));
        }
        TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(trusted);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        java.net.Socket plain = new java.net.Socket(InetAddress.getLoopbackAddress(), Integer.parseInt(words[2]));
        try (SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(plain, words[1], 443, true)) {
            socket.setEnabledProtocols(new String[] {protocol});
            SSLParameters parameters = socket.getSSLParameters();
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            socket.setSSLParameters(parameters);
            socket.startHandshake();
            socket.getOutputStream().write("GET / HTTP/1.0\r\n\r\n".getBytes());
            System.out.println(new String(socket.getInputStream().readNBytes(100)));
        }
    }
}
