import java.io.InputStream;
import java.net.Authenticator;
import java.net.HttpURLConnection;
import java.net.PasswordAuthentication;
import java.net.URI;

/** Fetches one page with what Java has built in; the proxy is that of its system properties. */
public class Fetch {
    public static void main(String[] args) throws Exception {
        String user = System.getProperty("user");
        if (user != null) {
            char[] password = System.getProperty("password").toCharArray();
            Authenticator.setDefault(new Authenticator() {
                @Override
                protected PasswordAuthentication getPasswordAuthentication() {
                    return new PasswordAuthentication(user, password);
                }
            });
        }
        HttpURLConnection connection = (HttpURLConnection) URI.create(args[0]).toURL().openConnection();
        connection.setConnectTimeout(15000);
        connection.setReadTimeout(15000);
        try (InputStream body = connection.getInputStream()) {
            body.transferTo(System.out);
        }
        System.out.flush();
    }
}
