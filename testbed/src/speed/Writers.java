// Eight writers through Hadoop's own client. For each line "<base> <bytes> <synced>" of input: writes so many bytes in
// all into eight files below base, closes them, and says how many milliseconds it took. With "true" the DataNodes sync
// every block to disk as it is closed.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.CreateFlag;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.permission.FsPermission;

public class Writers {
    static final int NUM = 8;

    public static void main(String[] args) throws Exception {
        FileSystem fs = FileSystem.get(URI.create(args[0]), new Configuration());
        byte[] chunk = new byte[64 << 10];
        java.util.Arrays.fill(chunk, (byte) 'x');
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ");
            long each = Long.parseLong(words[1]) / NUM;
            EnumSet<CreateFlag> flags = EnumSet.of(CreateFlag.CREATE, CreateFlag.OVERWRITE);
            if (Boolean.parseBoolean(words[2])) {
                flags.add(CreateFlag.SYNC_BLOCK);
            }
            long began = System.nanoTime();
            List<Thread> threads = new ArrayList<>();
            Throwable[] failure = new Throwable[1];
            for (int n = 0; n < NUM; n++) {
                Path path = new Path(words[0] + "/part-" + n);
                Thread thread = new Thread(() -> {
                    try (FSDataOutputStream out = create(fs, path, flags)) {
                        for (long left = each; left > 0; left -= chunk.length) {
                            out.write(chunk, 0, (int) Math.min(left, chunk.length));
                        }
                    } catch (Throwable e) {
                        failure[0] = e;
                    }
                });
                thread.start();
                threads.add(thread);
            }
            for (Thread thread : threads) {
                thread.join();
            }
            String said = String.valueOf((System.nanoTime() - began) / 1_000_000);
            System.out.println(failure[0] == null ? said : failure[0].toString().replace('\n', ' '));
            System.out.flush();
        }
    }

    static FSDataOutputStream create(FileSystem fs, Path path, EnumSet<CreateFlag> flags) throws Exception {
        FsPermission permission = FsPermission.getFileDefault();
        short replication = fs.getDefaultReplication(path);
        return fs.create(path, permission, flags, 4096, replication, fs.getDefaultBlockSize(path), null);
    }
}
