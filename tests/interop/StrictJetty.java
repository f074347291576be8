import java.util.Arrays;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult;
import javax.net.ssl.SSLException;
import javax.servlet.http.HttpServletRequest;
import javax.servlet.http.HttpServletResponse;
import org.eclipse.jetty.io.EndPoint;
import org.eclipse.jetty.io.ssl.SslConnection;
import org.eclipse.jetty.server.Connector;
import org.eclipse.jetty.server.HttpConnectionFactory;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.server.SslConnectionFactory;
import org.eclipse.jetty.server.handler.AbstractHandler;
import org.eclipse.jetty.util.ssl.SslContextFactory;

/**
 * Jetty 9 that requires close_notify, and prints how each connection ended: java StrictJetty.java KEYSTORE VERSION=PORT...
 * The pass phrase is changeit.
 */
public class StrictJetty {
    public static void main(String[] arguments) throws Exception {
        Server server = new Server();
        for (String listen : Arrays.copyOfRange(arguments, 1, arguments.length)) {
            String[] parts = listen.split("=");
            SslContextFactory.Server tls = new SslContextFactory.Server();
            tls.setKeyStorePath(arguments[0]);
            tls.setKeyStorePassword("changeit");
            tls.setIncludeProtocols(parts[0]);
            ServerConnector connector =
                new ServerConnector(server, 1, 1, new Strict(tls, parts[0]), new HttpConnectionFactory());
            connector.setHost("127.0.0.1");
            connector.setPort(Integer.parseInt(parts[1]));
            connector.setAcceptQueueSize(1024);
            server.addConnector(connector);
        }
        server.setHandler(new AbstractHandler() {
            @Override
            public void handle(String target, Request base, HttpServletRequest request, HttpServletResponse response)
                throws java.io.IOException {
                base.setHandled(true);
                response.setContentLength(2);
                response.getOutputStream().write(new byte[] {'o', 'k'});
            }
        });
        server.start();
        server.join();
    }

    private static class Strict extends SslConnectionFactory {
        private final String version;

        Strict(SslContextFactory.Server tls, String version) {
            super(tls, "http/1.1");
            this.version = version;
        }

        @Override
        protected SslConnection newSslConnection(Connector connector, EndPoint end, SSLEngine engine) {
            SslConnection made = new Watched(connector, end, engine, version);
            made.setRequireCloseMessage(true);
            return made;
        }
    }

    private static class Watched extends SslConnection {
        private final String version;
        private boolean notified;

        Watched(Connector connector, EndPoint end, SSLEngine engine, String version) {
            super(connector.getByteBufferPool(), connector.getExecutor(), end, engine, true, true);
            this.version = version;
        }

        @Override
        protected SSLEngineResult unwrap(SSLEngine engine, java.nio.ByteBuffer in, java.nio.ByteBuffer out)
            throws SSLException {
            SSLEngineResult result = super.unwrap(engine, in, out);
            notified |= result.getStatus() == SSLEngineResult.Status.CLOSED;
            return result;
        }

        @Override
        public void onClose() {
            super.onClose();
            System.out.println("ended " + version + (notified ? " close_notify" : " truncated"));
        }
    }
}
