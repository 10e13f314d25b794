// Eight writers through Hadoop's own client. For each line "<base> <bytes> <synced>" of input: writes so many bytes in
// all into eight files below base, closes them, and says how many milliseconds it took. With "true" the DataNodes sync
// every block to disk as it is closed. For each line "<folder> <number> files": makes so many empty files in it.

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
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ");
            long began = System.nanoTime();
            Throwable failure = words[2].equals("files")
                ? makeFiles(fs, words[0], Integer.parseInt(words[1]))
                : write(fs, words[0], Long.parseLong(words[1]), Boolean.parseBoolean(words[2]));
            String said = String.valueOf((System.nanoTime() - began) / 1_000_000);
            System.out.println(failure == null ? said : failure.toString().replace('\n', ' '));
            System.out.flush();
        }
    }

    interface Work {
        void run(int n) throws Exception;
    }

    // Each of the writers does its part; what failed, if anything.
    static Throwable atOnce(Work work) throws InterruptedException {
        List<Thread> threads = new ArrayList<>();
        Throwable[] failure = new Throwable[1];
        for (int n = 0; n < NUM; n++) {
            int number = n;
            Thread thread = new Thread(() -> {
                try {
                    work.run(number);
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
        return failure[0];
    }

    static Throwable write(FileSystem fs, String base, long bytes, boolean synced) throws Exception {
        byte[] chunk = new byte[64 << 10];
        java.util.Arrays.fill(chunk, (byte) 'x');
        EnumSet<CreateFlag> flags = EnumSet.of(CreateFlag.CREATE, CreateFlag.OVERWRITE);
        if (synced) {
            flags.add(CreateFlag.SYNC_BLOCK);
        }
        return atOnce(n -> {
            try (FSDataOutputStream out = create(fs, new Path(base + "/part-" + n), flags)) {
                for (long left = bytes / NUM; left > 0; left -= chunk.length) {
                    out.write(chunk, 0, (int) Math.min(left, chunk.length));
                }
            }
        });
    }

    static Throwable makeFiles(FileSystem fs, String folder, int num) throws Exception {
        EnumSet<CreateFlag> flags = EnumSet.of(CreateFlag.CREATE);
        return atOnce(n -> {
            for (int at = n; at < num; at += NUM) {
                create(fs, new Path(folder + "/old-" + at), flags).close();
            }
        });
    }

    static FSDataOutputStream create(FileSystem fs, Path path, EnumSet<CreateFlag> flags) throws Exception {
        FsPermission permission = FsPermission.getFileDefault();
        short replication = fs.getDefaultReplication(path);
        return fs.create(path, permission, flags, 4096, replication, fs.getDefaultBlockSize(path), null);
    }
}
